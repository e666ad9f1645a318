//! Graphs without anything in them.
#![allow(non_snake_case, reason = "the driver's names")]

use crate::api::{Out, driver};

driver! {
    fn cuGraphInstantiateWithFlags(graph: Out<usize>, _from: usize, _flags: u64) |_| {
        graph.put(0x6100_0000)
    };
    fn cuGraphLaunch(_graph: usize, stream: usize) |state| state.streams.get(stream).map(drop);
    fn cuGraphUpload(_graph: usize, stream: usize) |state| state.streams.get(stream).map(drop);
    fn cuGraphDestroy(_graph: usize) |_| Ok(());
    fn cuGraphExecDestroy(_graph: usize) |_| Ok(());
}
