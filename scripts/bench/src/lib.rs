//! What the measuring programs share: the server that costs nothing, the measured clients, and
//! the figures of one run.

pub mod cue;
pub mod empty;
pub mod latency;
pub mod measure;
pub mod null_server;
pub mod ours;
pub mod raw;
pub mod wire;

pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The exit status of a driver that has no such call.
pub const NO_SUCH_CALL: u8 = 64;

/// One measurement, as the command line asks for it.
#[derive(Clone, Debug)]
pub struct Job {
    pub address: String,
    pub work: String,
    /// Threads, requests in flight, watches: as the work has it.
    pub n: usize,
    pub length: measure::Length,
    /// Bytes of data, or number of children.
    pub size: usize,
}

impl Job {
    /// Reads `HOST:PORT WORK N LENGTH SIZE`.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let [address, work, n, length, size] = args else {
            return Err("wanted: HOST:PORT WORK N LENGTH SIZE".into());
        };
        Ok(Self {
            address: (*address).to_owned(),
            work: (*work).to_owned(),
            n: n.parse()?,
            length: length.parse()?,
            size: size.parse()?,
        })
    }
}

/// The error of a driver that has no such call.
#[derive(Debug)]
pub struct NoSuchCall;

impl std::fmt::Display for NoSuchCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("this client has no such call")
    }
}

impl std::error::Error for NoSuchCall {}

/// Ends a driver process.
pub fn exit(done: Result<()>) -> std::process::ExitCode {
    match done {
        Ok(()) => 0.into(),
        Err(error) if error.is::<NoSuchCall>() => NO_SUCH_CALL.into(),
        Err(error) => {
            eprintln!("{error}");
            1.into()
        }
    }
}
