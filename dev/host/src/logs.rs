//! Where guests' standard output and error go, a line at a time.

use crate::HostError;
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// How much a guest may write at once.
const LARGEST_WRITE: usize = 64 * 1024;

/// Where guests' standard output and error go. A line is always written whole, whoever else writes.
#[derive(Clone, Debug, Default)]
pub enum LogSink {
    /// The host's own standard error, as it comes.
    #[default]
    Stderr,
    /// A file `<component>.log` for each component in this folder, which is made if needed and appended to.
    File(PathBuf),
    /// Memory, for tests.
    Memory(Arc<MemoryLog>),
}

/// The lines that guests have written.
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<HashMap<String, Vec<String>>>);

impl MemoryLog {
    /// What a component has written so far, line by line, standard output and error together.
    pub fn lines(&self, component: &str) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(component)
            .cloned()
            .unwrap_or_default()
    }

    fn push(&self, component: &str, line: &[u8]) {
        let mut components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = String::from_utf8_lossy(line).trim_end_matches('\n').to_owned();
        match components.get_mut(component) {
            Some(lines) => lines.push(line),
            None => _ = components.insert(component.to_owned(), vec![line]),
        }
    }
}

/// One component's place in a sink.
#[derive(Clone, Debug)]
pub(crate) struct ComponentLog {
    component: Arc<str>,
    target: Target,
}

#[derive(Clone, Debug)]
enum Target {
    Stderr,
    File(Arc<Mutex<File>>),
    Memory(Arc<MemoryLog>),
}

impl ComponentLog {
    /// Opens a component's place.
    pub(crate) fn open(sink: &LogSink, component: &str) -> Result<Self, HostError> {
        let target = match sink {
            LogSink::Stderr => Target::Stderr,
            LogSink::Memory(log) => Target::Memory(Arc::clone(log)),
            LogSink::File(folder) => Target::File(Arc::new(Mutex::new(open_file(folder, component)?))),
        };
        Ok(Self {
            component: component.into(),
            target,
        })
    }

    /// Writes one line.
    pub(crate) fn line(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
    }

    /// A stream for an instance; every stream keeps its own unfinished line.
    pub(crate) fn stream(&self) -> LogStream {
        LogStream(Arc::new(Mutex::new(LineBuffer {
            log: self.clone(),
            unfinished: Vec::new(),
        })))
    }

    fn write(&self, lines: &[u8]) {
        let written = match &self.target {
            Target::Stderr => io::stderr().lock().write_all(lines),
            Target::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(lines),
            Target::Memory(log) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    log.push(&self.component, line);
                }
                Ok(())
            }
        };
        if let Err(error) = written {
            tracing::warn!(component = &*self.component, %error, "cannot write a guest's log");
        }
    }
}

fn open_file(folder: &Path, component: &str) -> Result<File, HostError> {
    let path = folder.join(format!("{component}.log"));
    std::fs::create_dir_all(folder)
        .and_then(|()| File::options().create(true).append(true).open(&path))
        .map_err(|source| HostError::Logs { path, source })
}

/// A guest's standard output or error.
#[derive(Clone)]
pub(crate) struct LogStream(Arc<Mutex<LineBuffer>>);

struct LineBuffer {
    log: ComponentLog,
    unfinished: Vec<u8>,
}

impl LineBuffer {
    fn write(&mut self, bytes: &[u8]) {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.unfinished.extend_from_slice(bytes);
            return;
        };
        let (lines, rest) = bytes.split_at(end + 1);
        if self.unfinished.is_empty() {
            self.log.write(lines);
        } else {
            self.unfinished.extend_from_slice(lines);
            self.log.write(&std::mem::take(&mut self.unfinished));
        }
        self.unfinished.extend_from_slice(rest);
    }
}

impl Drop for LineBuffer {
    fn drop(&mut self) {
        if !self.unfinished.is_empty() {
            self.unfinished.push(b'\n');
            self.log.write(&self.unfinished);
        }
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The default would start a task for each stream.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LARGEST_WRITE)
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_whole_and_the_last_one_when_the_stream_ends() {
        let memory = Arc::new(MemoryLog::default());
        let log = ComponentLog::open(&LogSink::Memory(Arc::clone(&memory)), "one").unwrap();
        let (out, err) = (log.stream(), log.stream());

        for (stream, text) in [
            (&out, "first "),
            (&err, "error\n"),
            (&out, "line\nsecond\nthi"),
            (&out, "rd"),
        ] {
            stream.0.lock().unwrap().write(text.as_bytes());
        }
        drop(out);

        assert_eq!(memory.lines("one"), ["error", "first line", "second", "third"]);
        assert!(memory.lines("two").is_empty());
    }

    #[test]
    fn file_is_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let sink = LogSink::File(folder.path().join("logs"));

        for text in ["one", "two"] {
            ComponentLog::open(&sink, "chat").unwrap().line(text);
        }

        assert_eq!(
            std::fs::read_to_string(folder.path().join("logs/chat.log")).unwrap(),
            "one\ntwo\n"
        );
    }
}
