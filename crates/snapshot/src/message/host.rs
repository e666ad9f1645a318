//! Memory of the machine, not of the device: the allocator for CPU tensors, the system, the kernel.

use super::{Found, Hit, HostCause, Kind, Origin};

pub(super) fn read(hit: &Hit<'_>) -> Option<Found> {
    allocation(hit).or_else(|| killed(hit)).or_else(|| shared(hit))
}

fn host(cause: HostCause, origin: Origin, wording: &'static str, end: usize) -> Found {
    Found::new(Kind::Host { cause }, origin, wording, end)
}

fn allocation(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    if text.eat("OutOfMemoryError") {
        let is_java = hit.before().ends_with(b"java.lang.");
        let wording = "Java, OutOfMemoryError";
        return is_java.then(|| host(HostCause::Allocation, Origin::Java, wording, text.at()));
    }
    let cause = HostCause::Allocation;
    if text.eat("can'tallocatememory:youtriedtoallocate")
        || text.eat("notenoughmemory:youtriedtoallocate")
    {
        let wording = "PyTorch, DefaultCPUAllocator";
        let mut found = host(cause, Origin::PyTorch, wording, text.at());
        match text.size() {
            Some(requested) => found.facts.requested = requested,
            None => found.truncated = true,
        }
        text.eat(".");
        text.eat("Errorcode12(Cannotallocatememory)");
        text.eat("Buynewmemory!");
        found.end = text.at();
        return Some(found);
    }
    if text.eat("Unabletoallocate") {
        let mut found = host(cause, Origin::Python, "NumPy, MemoryError", text.at());
        let requested = text.size()?;
        text.eat("foranarraywithshape").then_some(())?;
        found.facts.requested = requested;
        found.end = text.at();
        return Some(found);
    }
    let says = text.eat("Cannotallocatememory") || text.eat("cannotallocatememory");
    says.then(|| host(cause, Origin::System, "Cannot allocate memory (ENOMEM)", text.at()))
}

fn killed(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    let cause = HostCause::Killed;
    if text.eat("Outofmemory:Kill") || text.eat("outofmemory:Kill") {
        text.eat("ed");
        let is_kernel = text.eat("process") && text.small().is_some();
        let wording = "Linux, oom-killer";
        return is_kernel.then(|| host(cause, Origin::Kernel, wording, text.at()));
    }
    for (words, origin, wording) in [
        ("oom-killevent", Origin::Launcher, "Slurm, oom-kill event"),
        ("oom_killevent", Origin::Launcher, "Slurm, oom-kill event"),
        ("OOMKilled", Origin::Launcher, "Kubernetes, OOMKilled"),
        ("cgroupout-of-memoryhandler", Origin::Launcher, "Slurm, cgroup out-of-memory handler"),
    ] {
        if text.eat(words) {
            let mut line = hit.line();
            if line.skip_to("cgroupout-of-memoryhandler", 200) {
                text = line; // the same event, told on
            }
            return Some(host(cause, origin, wording, text.at()));
        }
    }
    let cause = HostCause::Signal9;
    let words = ["exitcode:-9", "Signal9(SIGKILL)", "<Signals.SIGKILL:9>", "exitcode137"];
    let origin = Origin::Launcher;
    if words.iter().any(|words| text.eat(words)) {
        // torchrun tells the same death again, two lines on.
        if text.eat("(pid:") && text.small().is_some() {
            for words in [")", "(SIGKILL)", "error_file:<N/A>", "traceback:", "Signal9(SIGKILL)"] {
                text.eat(words);
            }
        }
        return Some(host(cause, origin, "killed by SIGKILL", text.at()));
    }
    let is_worker = text.eat("iskilledbysignal:Killed");
    is_worker.then(|| host(cause, Origin::PyTorch, "DataLoader worker killed", text.at()))
}

/// `/dev/shm`.
fn shared(hit: &Hit<'_>) -> Option<Found> {
    let mut text = hit.cursor();
    let near = hit.before();
    let says = text.eat("insufficientsharedmemory(shm)")
        || text.eat("outofsharedmemory")
        || text.eat("unabletoallocatesharedmemory(shm)")
        || text.eat("Errorwhilecreatingsharedmemorysegment")
        || text.eat("iskilledbysignal:Buserror")
        || near.ends_with(b"/dev/shm:") && text.eat("Nospaceleftondevice");
    says.then(|| {
        let mut line = hit.line();
        if line.skip_to("outofsharedmemory", 200) {
            text = line; // told on
        }
        Found::new(Kind::SharedMemory, Origin::System, "/dev/shm", text.at())
    })
}
