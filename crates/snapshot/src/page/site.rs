//! Which line of the program a stack comes from.

use crate::{Frame, Names, StackId, Stacks};

/// Parts of the paths of files that are not the program: libraries, the languages' own, and code
/// without source.
const FOREIGN: &[&str] = &[
    "site-packages/",
    "dist-packages/",
    "/torch/",
    "/lib/python",
    "<frozen ",
    "/rustc/",
    "/.cargo/registry/",
    "/pytorch/",
];

/// Endings of files that are not the program's source.
const LIBRARIES: &[&str] = &["so", "dylib", "dll", "exe"];

/// The innermost frame in the program; where there is none, the innermost that has a name.
pub(super) fn site(stack: StackId, stacks: &Stacks, names: &Names) -> Option<Frame> {
    let of_program = stacks.get(stack).find(|frame| is_program(frame, names));
    let any = || stacks.get(stack).find(|frame| has_name(frame, names));
    of_program.or_else(any).copied()
}

fn has_name(frame: &Frame, names: &Names) -> bool {
    !matches!(names.get(frame.function), "" | "??")
}

fn is_program(frame: &Frame, names: &Names) -> bool {
    let file = names.get(frame.file);
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_library = LIBRARIES.contains(&ending)
        || name.contains(".so.")
        || name.starts_with("python") && ending != "py";
    let is_foreign = FOREIGN.iter().any(|part| file.contains(part));
    !file.is_empty() && file != "??" && !is_library && !is_foreign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_of_the_program_counts() {
        let (mut names, mut stacks) = (Names::default(), Stacks::default());
        let mut stack = |files: &[&str]| {
            let frames = files.iter().map(|&file| {
                let (file, function) = (names.intern(file), names.intern("f"));
                Frame { file, function, line: 1 }
            });
            let frames: Vec<Frame> = frames.collect();
            stacks.intern(frames)
        };
        let mixed = stack(&[
            "/usr/lib/libc10.so",
            "/libc.so.6",
            "/x/site-packages/torch/nn/linear.py",
            "/home/me/model.py",
            "/home/me/train.py",
        ]);
        let library = stack(&["/usr/lib/libc10.so", "/usr/bin/python3.11"]);
        let file = |id| site(id, &stacks, &names).map(|frame| names.get(frame.file));
        assert_eq!(file(mixed), Some("/home/me/model.py"));
        assert_eq!(file(library), Some("/usr/lib/libc10.so"), "the innermost, for want of better");
        assert_eq!(file(StackId::default()), None);
    }
}
