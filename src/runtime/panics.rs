//! What a panic leads to.

/// A panic ends the process, in whatever thread: a thread that dies would leave a process that looks healthy and serves a
/// part of its clients.
///
/// It is not `panic = "abort"` that does it, as Lua's errors unwind through Rust.
pub fn panics_abort() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}
