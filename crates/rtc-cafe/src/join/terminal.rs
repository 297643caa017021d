//! A terminal with a line to type in, above which everything else is printed.

use std::{io, thread, time::Duration};

use rustyline::{
    Config, Editor, ExternalPrinter,
    error::ReadlineError,
    history::{History, MemHistory},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

const PROMPT: &str = "> ";
/// Lines that the arrow keys bring back. They are kept in memory only.
const HISTORY: usize = 500;
/// Lines that wait to be printed.
const PRINTED: usize = 64;
/// How long lines may take to be printed, where it is waited for.
const PRINTING: Duration = Duration::from_millis(500);

/// What the user did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Entered a line.
    Line(String),
    /// Pressed Ctrl-C.
    Interrupt,
    /// Pressed Ctrl-D.
    End,
}

/// What is to be printed.
#[derive(Debug)]
enum Print {
    /// Whole lines.
    Lines(String),
    /// Nothing; but it is told when what came before is printed.
    Tell(oneshot::Sender<()>),
}

/// The terminal, in raw mode while a line is typed; it is given back as it was.
#[derive(Debug)]
pub(crate) struct Terminal {
    typed: mpsc::Receiver<Typed>,
    /// Has the next line be read.
    go: std::sync::mpsc::Sender<()>,
    print: mpsc::Sender<Print>,
    reading: bool,
    saved: Saved,
}

impl Terminal {
    /// Takes the terminal; `None` if it is one that cannot be used this way.
    pub(crate) fn open() -> Option<Self> {
        let saved = Saved::new()?;
        let config = Config::builder().max_history_size(HISTORY).ok()?.history_ignore_space(false).build();
        let history = MemHistory::with_config(&config);
        let mut editor: Editor<(), MemHistory> = Editor::with_history(config, history).ok()?;
        let printer = editor.create_external_printer().ok()?;
        let (typed_sender, typed) = mpsc::channel(1);
        let (go, went) = std::sync::mpsc::channel();
        thread::spawn(move || read(editor, &typed_sender, &went));
        let (print, waiting) = mpsc::channel(PRINTED);
        thread::spawn(move || show(printer, waiting));
        Some(Self { typed, go, print, reading: false, saved })
    }

    /// What the user does next. Cancel safe.
    pub(crate) async fn next(&mut self) -> Typed {
        // Until the last line was dealt with, there is no prompt.
        if !self.reading {
            self.printed().await;
            self.reading = self.go.send(()).is_ok();
        }
        let typed = self.typed.recv().await.unwrap_or(Typed::End);
        self.reading = false;
        typed
    }

    /// Prints whole lines, above the line that is typed.
    pub(crate) async fn print(&self, text: &str) {
        // Without a terminal there is nobody to see it.
        let _ = self.print.send(Print::Lines(format!("{text}\n"))).await;
    }

    /// Waits until everything is printed, unless that takes long.
    pub(crate) async fn printed(&self) {
        let (tell, told) = oneshot::channel();
        let printed = async {
            if self.print.send(Print::Tell(tell)).await.is_ok() {
                let _ = told.await;
            }
        };
        let _ = timeout(PRINTING, printed).await;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.saved.restore(self.reading);
    }
}

fn read(mut editor: Editor<(), MemHistory>, typed: &mpsc::Sender<Typed>, went: &std::sync::mpsc::Receiver<()>) {
    while went.recv().is_ok() {
        let what = match editor.readline(PROMPT) {
            Ok(line) => {
                let _ = editor.history_mut().add(&line);
                Typed::Line(line)
            }
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(ReadlineError::Signal(_)) => continue,
            Err(_) => Typed::End,
        };
        if typed.blocking_send(what).is_err() {
            return;
        }
    }
}

fn show(mut printer: impl ExternalPrinter, mut waiting: mpsc::Receiver<Print>) {
    let mut next = waiting.blocking_recv();
    while let Some(print) = next.take() {
        match print {
            Print::Tell(tell) => {
                // Who waits no longer does not want to know.
                let _ = tell.send(());
            }
            Print::Lines(mut text) => {
                // What came together is printed together.
                while let Ok(more) = waiting.try_recv() {
                    match more {
                        Print::Lines(more) => text += &more,
                        tell @ Print::Tell(_) => {
                            next = Some(tell);
                            break;
                        }
                    }
                }
                if printer.print(text).is_err() {
                    return;
                }
            }
        }
        next = next.or_else(|| waiting.blocking_recv());
    }
}

/// How the terminal was before.
#[cfg(unix)]
#[derive(Debug)]
struct Saved(nix::sys::termios::Termios);

#[cfg(unix)]
impl Saved {
    fn new() -> Option<Self> {
        nix::sys::termios::tcgetattr(io::stdin()).ok().map(Self)
    }

    /// The line editor is not asked: it waits for a key.
    fn restore(&self, prompt: bool) {
        use std::io::Write;
        let _ = nix::sys::termios::tcsetattr(io::stdin(), nix::sys::termios::SetArg::TCSADRAIN, &self.0);
        if prompt {
            // Takes the prompt away, and ends bracketed paste.
            let _ = write!(io::stdout(), "\r\u{1b}[J\u{1b}[?2004l");
            let _ = io::stdout().flush();
        }
    }
}

/// Elsewhere the system does it.
#[cfg(not(unix))]
#[derive(Debug)]
struct Saved;

#[cfg(not(unix))]
impl Saved {
    fn new() -> Option<Self> {
        Some(Self)
    }

    fn restore(&self, _: bool) {}
}
