//! Patterns of paths.

use crate::path;

/// `/svc/*/addr`, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// One name: `*` stands for any characters in it, `?` for one.
    Name(String),
    /// `**`: any number of names, also none.
    Any,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        path::validate(text)?;
        let step = |name: &str| match name {
            "**" => Ok(Step::Any),
            name if name.contains("**") => Err("** stands for whole names, alone between slashes"),
            name => Ok(Step::Name(name.to_owned())),
        };
        let steps = names(text).map(step).collect::<Result<_, _>>()?;
        Ok(Self { steps })
    }

    /// The node above all that match: the names before the first that is not fixed.
    pub(crate) fn root(&self) -> String {
        let fixed = self.steps.iter().map_while(|step| match step {
            Step::Name(name) if !name.contains(['*', '?']) => Some(name.as_str()),
            _ => None,
        });
        fixed.fold(String::from("/"), |root, name| path::join(&root, name))
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        self.after(path).last() == Some(&true)
    }

    /// Whether a path below `path` may match.
    pub(crate) fn leads(&self, path: &str) -> bool {
        self.after(path).iter().rev().skip(1).any(|reached| *reached)
    }

    pub(crate) fn concerns(&self, path: &str) -> bool {
        self.after(path).contains(&true)
    }

    /// Which numbers of steps the names of `path` may have used up: the last is all of them.
    fn after(&self, path: &str) -> Vec<bool> {
        let mut reached = vec![false; self.steps.len() + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        self.skip_any(&mut reached);
        for name in names(path) {
            let mut next = vec![false; reached.len()];
            for (at, step) in self.steps.iter().enumerate() {
                if !reached.get(at).is_some_and(|reached| *reached) {
                    continue;
                }
                let to = match step {
                    Step::Any => at,
                    Step::Name(wanted) if is_like(wanted, name) => at + 1,
                    Step::Name(_) => continue,
                };
                if let Some(next) = next.get_mut(to) {
                    *next = true;
                }
            }
            self.skip_any(&mut next);
            reached = next;
        }
        reached
    }

    /// `**` may stand for nothing.
    fn skip_any(&self, reached: &mut [bool]) {
        let mut before = false;
        for (at, reached) in reached.iter_mut().enumerate() {
            *reached |= before;
            before = *reached && self.steps.get(at) == Some(&Step::Any);
        }
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// Whether a name is as `wanted`, which may have `*` and `?`. Goes back to the last `*` only, so it
/// takes no more steps than both lengths multiplied.
fn is_like(wanted: &str, name: &str) -> bool {
    let (wanted, name): (Vec<char>, Vec<char>) = (wanted.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(char) = name.get(read) {
        match wanted.get(at) {
            Some('*') => {
                star = Some((at + 1, read));
                at += 1;
            }
            Some(one) if *one == '?' || one == char => {
                at += 1;
                read += 1;
            }
            _ => match star {
                // The star takes one character more.
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at, read) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    wanted.iter().skip(at).all(|char| *char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, root: &str, yes: &[&str], no: &[&str]) {
        let parsed = Pattern::parse(pattern).expect("a pattern");
        assert_eq!(parsed.root(), root, "{pattern}");
        for path in yes {
            assert!(parsed.matches(path), "{pattern} is to match {path}");
            let mut above = *path;
            while let Some(parent) = path::parent(above) {
                assert!(parsed.leads(parent), "{pattern} is to lead from {parent} to {path}");
                above = parent;
            }
        }
        for path in no {
            assert!(!parsed.matches(path), "{pattern} is not to match {path}");
        }
    }

    #[test]
    fn patterns_match_whole_paths() {
        check("/a/b", "/a/b", &["/a/b"], &["/", "/a", "/a/b/c", "/a/bc", "/b"]);
        check("/", "/", &["/"], &["/a"]);
        check("/*", "/", &["/a", "/zookeeper"], &["/", "/a/b"]);
        check(
            "/svc/*/addr",
            "/svc",
            &["/svc/a/addr", "/svc/*/addr"],
            &["/svc/addr", "/svc/a/b/addr", "/svc/a/addr/x", "/svc/a"],
        );
        check("/n-*", "/", &["/n-", "/n-1", "/n-1-2"], &["/n", "/m-1", "/n-1/a"]);
        check("/*-*.log", "/", &["/a-b.log", "/-.log", "/a-b-.log.log"], &["/a.log", "/a-b.logs"]);
        check("/a?c", "/", &["/abc", "/aéc"], &["/ac", "/abbc", "/a/c"]);
        check("/a*a*a", "/", &["/aaa", "/abaca", "/aaaaaa"], &["/aa", "/aba", "/aab"]);
    }

    #[test]
    fn two_stars_are_any_names() {
        check("/**", "/", &["/", "/a", "/a/b/c"], &[]);
        check("/a/**", "/a", &["/a", "/a/b", "/a/b/c"], &["/", "/b", "/ab"]);
        check("/**/x", "/", &["/x", "/a/x", "/a/x/x"], &["/", "/a", "/x/a"]);
        check(
            "/a/**/b/*",
            "/a",
            &["/a/b/c", "/a/x/b/c", "/a/b/b/b", "/a/x/y/b/c"],
            &["/a/b", "/a/c", "/a/b/c/d"],
        );
        check("/**/a/**", "/", &["/a", "/b/a", "/a/b", "/b/a/c/d"], &["/", "/b", "/b/c"]);
    }

    #[test]
    fn pattern_leads_only_where_something_may_match() {
        let pattern = Pattern::parse("/svc/*/addr").expect("a pattern");
        for path in ["/", "/svc", "/svc/a"] {
            assert!(pattern.leads(path) && pattern.concerns(path), "{path}");
        }
        for path in ["/other", "/svc/a/addr", "/svc/a/port", "/svc/a/addr/x"] {
            assert!(!pattern.leads(path), "{path}");
        }
        assert!(pattern.concerns("/svc/a/addr") && !pattern.concerns("/svc/a/port"));
        assert!(Pattern::parse("/a/**").expect("a pattern").leads("/a/b/c"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "a", "/a/", "/a//b", "/a**", "/**a/b", "/a/***", "/a/../b"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = format!("/{}b", "*a".repeat(200));
        let name = format!("/{}", "a".repeat(2_000));
        assert!(!Pattern::parse(&pattern).expect("a pattern").matches(&name));
        let deep = format!("{}/b", "/**/a".repeat(50));
        let path = "/a".repeat(200);
        assert!(!Pattern::parse(&deep).expect("a pattern").matches(&path));
    }
}
