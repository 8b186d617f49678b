//! The examples in the documentation of the recipes do run, each on a tree of its own.
//!
//! `cargo test --doc` compiles them and no more, as there is no server. Here one program is made of
//! all of them, with the very library that this test is linked to.

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::server::fresh_chroot;
use crate::support::wait::eventually;

/// An example, with what the documentation hides.
#[derive(Debug)]
struct Example {
    /// The file and the line where it begins.
    place: String,
    code: String,
}

/// What the examples connect to; here it is a variable.
const ADDRESS: &str = "\"localhost:2181\"";

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The line of documentation, without its marks.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(doc.strip_prefix(' ').unwrap_or(doc))
}

fn examples_in(path: &Path) -> Vec<Example> {
    let source = fs::read_to_string(path).expect("a source");
    let mut lines = source.lines().enumerate();
    let mut examples = Vec::new();
    while let Some((number, line)) = lines.next() {
        if doc(line) != Some("```no_run") {
            continue;
        }
        let code = lines.by_ref().map_while(|(_, line)| doc(line).filter(|line| *line != "```"));
        let code: String = code
            .map(|line| match line.trim_start() {
                "#" => "",
                bare => bare.strip_prefix("# ").unwrap_or(line),
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let name = path.file_name().expect("a file").to_string_lossy();
        let parent = path.parent().and_then(Path::file_name).expect("a folder").to_string_lossy();
        examples.push(Example { place: format!("{parent}/{name}:{}", number + 1), code });
    }
    examples
}

fn all_examples() -> Vec<Example> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/recipes");
    let mut found = Vec::new();
    sources(&folder, &mut found);
    found.sort();
    let examples = found.iter().flat_map(|path| examples_in(path));
    // The library that is linked has what this test was built with.
    examples.filter(|example| cfg!(feature = "serde") || !example.code.contains("json(")).collect()
}

/// A program that runs the example of the number that it is given, at the address that it is given.
fn program_of(examples: &[Example]) -> String {
    let mut program = String::new();
    let mut arms = String::new();
    for (number, Example { place, code }) in examples.iter().enumerate() {
        assert!(code.contains(ADDRESS), "{place} does not connect to {ADDRESS}");
        let code = code.replace(ADDRESS, "address");
        writeln!(
            program,
            "// {place}\nfn example_{number}(address: &str) -> zookeeper_blocking::Result<()> {{\n{code}}}\n"
        )
        .expect("memory");
        writeln!(arms, "        \"{number}\" => example_{number}(&address),").expect("memory");
    }
    format!(
        "#![allow(unused)]\n{program}\
         fn main() {{\n\
         \x20   let mut args = std::env::args().skip(1);\n\
         \x20   let (number, address) = (args.next().unwrap(), args.next().unwrap());\n\
         \x20   let ended = match &*number {{\n{arms}        _ => std::process::exit(2),\n    }};\n\
         \x20   if let Err(error) = ended {{\n\
         \x20       eprintln!(\"{{error}} ({{error:?}})\");\n\
         \x20       std::process::exit(1);\n\
         \x20   }}\n\
         }}\n"
    )
}

/// The libraries of this package beside this test, newest first: one of them is the one that the
/// test is linked to, others may be left from other builds.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .expect("where this test is")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            let is_ours = name.starts_with("libzookeeper_blocking-") && name.ends_with(".rlib");
            is_ours.then(|| (path.metadata().and_then(|file| file.modified()).ok(), path))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

fn compiled(program: &str, folder: &Path) -> PathBuf {
    let own = std::env::current_exe().expect("this test");
    let beside = own.parent().expect("a folder");
    let (source, binary) = (folder.join("recipe_docs.rs"), folder.join("recipe_docs"));
    fs::write(&source, program).expect("a file");
    let mut said = Vec::new();
    for library in libraries(beside) {
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "--crate-name", "recipe_docs"]).arg(&source);
        rustc.arg("-o").arg(&binary);
        rustc.arg("--extern").arg(format!("zookeeper_blocking={}", library.display()));
        rustc.arg("-L").arg(format!("dependency={}", beside.display()));
        let output = rustc.output().expect("rustc runs");
        if output.status.success() {
            return binary;
        }
        said.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    panic!("the examples do not compile:\n{}", said.first().map_or("no library", |said| said));
}

/// An example that runs. Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended already, both are no more than an error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn examples_in_the_documentation_of_recipes_run() {
    let examples = all_examples();
    assert!(examples.len() > 30, "{examples:#?}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipe_docs");
    fs::create_dir_all(&folder).expect("a folder");
    let program = compiled(&program_of(&examples), &folder);
    let start = |number: usize| {
        let chroot = fresh_chroot();
        let mut command = Command::new(&program);
        command.arg(number.to_string()).arg(chroot.connect_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Running(command.spawn().expect("a program"))
    };
    let mut failed = Vec::new();
    // Not all at once: they wait more than they work, but each has threads and a session.
    for (batch, some) in examples.chunks(8).enumerate() {
        let running: Vec<_> = (0..some.len()).map(|n| start(batch * 8 + n)).collect();
        for (mut running, Example { place, .. }) in running.into_iter().zip(some) {
            let mut status = None;
            eventually(place, Duration::from_secs(60), || {
                status = running.0.try_wait().expect("our child");
                status.is_some()
            });
            if !status.is_some_and(|status| status.success()) {
                let mut said = String::new();
                let _ = running.0.stderr.take().map(|mut out| out.read_to_string(&mut said));
                failed.push(format!("{place}: {said}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
