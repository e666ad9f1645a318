//! [`Site`]: a scaler's share of one device: its numbers there, its stream, its launches.

use std::sync::Arc;

use bytemuck::Zeroable;
use freeboard_allocator::CachingAllocator;
use freeboard_buffer::{BufferError, DeviceBuffer, InFlight, Pinned, PinnedAllocator};
use freeboard_device::{Compute, DeviceError, Grid};
use freeboard_units::{Address, DeviceId, StreamId};

use crate::ScalerError;
use crate::kernels::list::{
    CHUNK, ENTRIES, Entry, Found, LONGEST, MultiplyList, State, THREADS, UpdateScale, narrow,
    pieces,
};
use crate::kernels::{MULTIPLY_LIST, SCALER, UPDATE_SCALE, launch, pointer};
use crate::tensor::{Home, Tensor};

/// More entries than this have no numbers in [`Found::first`].
const MOST: usize = 1 << 24;

/// A scaler's share of one device.
pub(crate) struct Site<D: Compute> {
    pub(crate) ground: Ground<D>,
    pinned: PinnedAllocator<D>,
    numbers: Option<Numbers<D>>,
    /// Filled for each launch, so that it is not cleared for each.
    list: Box<MultiplyList>,
}

/// The device, and where on it the scaler's work goes.
pub(crate) struct Ground<D: Compute> {
    pub(crate) device: DeviceId,
    pub(crate) stream: StreamId,
    allocator: Arc<CachingAllocator<D>>,
    /// Whether memory of this process is this site's to work on.
    takes_process_memory: bool,
}

/// What lies on the device once something was scaled.
struct Numbers<D: Compute> {
    state: DeviceBuffer<State, D>,
    /// One for each optimizer; as many again as there is room for.
    founds: DeviceBuffer<Found, D>,
    /// One for each optimizer.
    reads: Vec<Read<D>>,
}

/// A record that comes, or came, to the host.
enum Read<D: Compute> {
    /// Where the next one goes.
    Idle(Option<Pinned<Found, D>>),
    Coming(InFlight<Found, D>),
}

impl<D: Compute + Send + Sync + 'static> Site<D> {
    pub(crate) fn new(
        allocator: &Arc<CachingAllocator<D>>,
        stream: StreamId,
        is_home: bool,
    ) -> Result<Self, ScalerError> {
        allocator.device().load(&SCALER)?;
        Ok(Self {
            ground: Ground {
                device: allocator.device().id(),
                stream,
                allocator: Arc::clone(allocator),
                takes_process_memory: is_home && allocator.device().sees_process_memory(),
            },
            pinned: PinnedAllocator::new(allocator)?,
            numbers: None,
            list: Box::new(MultiplyList::zeroed()),
        })
    }

    /// Puts the scaler's numbers on the device, if they are not there, and makes room for the
    /// records of this many optimizers.
    pub(crate) fn prepare(&mut self, state: &State, optimizers: usize) -> Result<(), ScalerError> {
        let Ground { allocator, stream, .. } = &self.ground;
        let stream = *stream;
        let Some(numbers) = &mut self.numbers else {
            let room = optimizers.next_power_of_two().max(8);
            self.numbers = Some(Numbers {
                state: DeviceBuffer::from_slice(allocator, &[*state], stream)?,
                founds: DeviceBuffer::zeroed(allocator, room, stream)?,
                reads: (0..optimizers).map(|_| Read::Idle(None)).collect(),
            });
            return Ok(());
        };
        if optimizers > numbers.founds.len() {
            let room = optimizers.next_power_of_two();
            let mut more = DeviceBuffer::zeroed(allocator, room, stream)?;
            more.slice_mut(..numbers.founds.len())?.copy_from(&numbers.founds)?;
            numbers.founds = more;
        }
        numbers.reads.resize_with(optimizers.max(numbers.reads.len()), || Read::Idle(None));
        Ok(())
    }

    /// Whether the numbers are there, with room for the records of this many optimizers.
    pub(crate) fn is_ready(&self, optimizers: usize) -> bool {
        self.numbers.as_ref().is_some_and(|numbers| numbers.reads.len() >= optimizers)
    }

    /// Forgets what is on the device; it is put there anew when it is next needed.
    pub(crate) fn forget(&mut self) {
        self.numbers = None;
    }

    /// The address of the scale, an f32, and that of its inverse.
    pub(crate) fn scale_and_inverse(&self) -> Option<(Address, Address)> {
        let state = self.numbers.as_ref()?.state.address();
        Some((state, Address::new(state.get() + size_of::<f32>() as u64)))
    }

    /// The address of what was found for an optimizer: an f32, 1 or 0.
    pub(crate) fn found(&self, optimizer: usize) -> Option<Address> {
        let founds = self.numbers.as_ref()?.founds.address();
        Some(Address::new(founds.get() + (optimizer * size_of::<Found>()) as u64))
    }

    /// Multiplies this device's tensors of a list, or looks at them, or both, as the flags say.
    /// Waits if some of them are memory of this process, whose borrow ends with the call.
    pub(crate) fn multiply(
        &mut self,
        tensors: &[Tensor<'_>],
        factor: Address,
        found: Option<Address>,
        flags: u32,
    ) -> Result<(), ScalerError> {
        self.list.factor = factor.get();
        self.list.found = found.map_or(0, Address::get);
        self.list.flags = flags;
        let launched = self.ground.launch_all(tensors, &mut self.list);
        let borrows = |tensor: &Tensor<'_>| tensor.home == Home::Process && self.ground.has(tensor);
        if tensors.iter().any(borrows) {
            self.ground.wait()?;
        }
        launched
    }

    /// Applies the rule on the device, and forgets what was found.
    pub(crate) fn update(&mut self, update: UpdateScale) -> Result<(), ScalerError> {
        let Some(numbers) = &mut self.numbers else { return Ok(()) };
        let count = narrow(numbers.reads.len() as u64);
        let (state, founds) = (numbers.state.address().get(), numbers.founds.address().get());
        let update = UpdateScale { state, founds, count, ..update };
        let grid = Grid { blocks: 1, threads: 1 };
        let Ground { allocator, stream, .. } = &self.ground;
        // SAFETY: the parameter is this kernel's, and both buffers are this site's own, on this
        // stream.
        unsafe { launch(allocator.device(), &UPDATE_SCALE, grid, &update, *stream) }?;
        for read in &mut numbers.reads {
            // A record that nobody asked for; its memory returns by itself.
            if matches!(read, Read::Coming(_)) {
                *read = Read::Idle(None);
            }
        }
        Ok(())
    }

    /// Starts to bring an optimizer's record to the host, if it is not there.
    pub(crate) fn start_read(&mut self, optimizer: usize) -> Result<(), ScalerError> {
        if self.ground.compute().sees_process_memory() {
            return Ok(());
        }
        let Some(numbers) = &mut self.numbers else { return Ok(()) };
        let read = &mut numbers.reads[optimizer];
        let pinned = match read {
            Read::Coming(_) => return Ok(()),
            Read::Idle(pinned) => pinned.take(),
        };
        let pinned = match pinned {
            Some(pinned) => pinned,
            None => self.pinned.allocate(1)?,
        };
        let record = numbers.founds.slice(optimizer..=optimizer)?;
        *read = Read::Coming(record.download(pinned).map_err(BufferError::from)?);
        Ok(())
    }

    /// An optimizer's record, waited for.
    pub(crate) fn finish_read(&mut self, optimizer: usize) -> Result<Found, ScalerError> {
        if let (true, Some(found)) =
            (self.ground.compute().sees_process_memory(), self.found(optimizer))
        {
            self.ground.wait()?;
            // SAFETY: the device's memory is this process's, the record is this site's own, and the
            // stream is past all work on it.
            return Ok(unsafe { pointer::<Found>(found.get()).read() });
        }
        self.start_read(optimizer)?;
        let Some(numbers) = &mut self.numbers else { return Ok(Found::default()) };
        let read = &mut numbers.reads[optimizer];
        match std::mem::replace(read, Read::Idle(None)) {
            Read::Coming(coming) => {
                let pinned = coming.wait()?;
                let found = pinned[0];
                *read = Read::Idle(Some(pinned));
                Ok(found)
            }
            Read::Idle(_) => Ok(Found::default()),
        }
    }

    /// Replaces the scaler's numbers, if they are on the device.
    pub(crate) fn put_state(&mut self, state: &State) -> Result<(), ScalerError> {
        let Some(numbers) = &mut self.numbers else { return Ok(()) };
        Ok(numbers.state.copy_from_slice(&[*state])?)
    }

    /// The scaler's numbers, as the device has them. Waits for its work.
    pub(crate) fn read_state(&self) -> Result<Option<State>, ScalerError> {
        let Some(numbers) = &self.numbers else { return Ok(None) };
        let mut state = [State::zeroed()];
        numbers.state.view().copy_to_slice(&mut state)?;
        Ok(Some(state[0]))
    }
}

impl<D: Compute> Ground<D> {
    fn compute(&self) -> &D {
        self.allocator.device()
    }

    /// Waits for what is on the stream.
    fn wait(&self) -> Result<(), ScalerError> {
        let waited = self.compute().synchronize_stream(self.stream);
        // A call that was refused has not waited. One that failed twice says that the device is
        // lost, and a lost device does no more work.
        Ok(waited.inspect_err(|_| drop(self.compute().synchronize_stream(self.stream)))?)
    }

    /// Whether a tensor is this device's to work on.
    pub(crate) fn has(&self, tensor: &Tensor<'_>) -> bool {
        match tensor.home {
            Home::Device(device, _) => device == self.device,
            Home::Process => self.takes_process_memory,
        }
    }

    /// Refuses a tensor that is on another stream.
    pub(crate) fn check(&self, tensor: &Tensor<'_>) -> Result<(), ScalerError> {
        match tensor.home {
            Home::Device(_, stream) if stream != self.stream => Err(ScalerError::WrongStream {
                tensor: tensor.name.to_owned(),
                stream,
                expected: self.stream,
            }),
            _ => Ok(()),
        }
    }

    fn launch_all(
        &self,
        tensors: &[Tensor<'_>],
        list: &mut MultiplyList,
    ) -> Result<(), ScalerError> {
        let (mut count, mut first, mut blocks) = (0, 0, 0);
        for tensor in tensors.iter().filter(|tensor| self.has(tensor)) {
            let (start, size) = (tensor.start, tensor.dtype.size().get());
            for (before, len) in pieces(tensor.len) {
                list.entries[count] =
                    Entry { start: start + before * size, len, first_block: blocks };
                blocks += len.div_ceil(CHUNK);
                count += 1;
                if count == ENTRIES {
                    self.launch(list, count, first, blocks)?;
                    first += count;
                    (count, blocks) = (0, 0);
                }
            }
        }
        if count > 0 { self.launch(list, count, first, blocks) } else { Ok(()) }
    }

    fn launch(
        &self,
        list: &mut MultiplyList,
        count: usize,
        first: usize,
        blocks: u32,
    ) -> Result<(), ScalerError> {
        if first + count > MOST {
            let reason = format!("more than {MOST} tensors in one list: divide it");
            return Err(DeviceError::InvalidCall { call: "multiply", reason }.into());
        }
        (list.count, list.first) = (narrow(count as u64), narrow(first as u64));
        let grid = Grid { blocks, threads: THREADS };
        // SAFETY: the parameter is this kernel's. The tensors are borrowed exclusively by the list,
        // their memory is given to nobody else before this stream is past its work (see
        // `freeboard_buffer`; `push_raw` has its caller's word), and memory of this process is
        // waited for. Factor and record are this site's own.
        Ok(unsafe { launch(self.compute(), &MULTIPLY_LIST, grid, list, self.stream) }?)
    }

    /// Which element of which tensor has a key that a kernel left.
    pub(crate) fn locate<'t>(
        &self,
        tensors: &'t [Tensor<'t>],
        entry: u64,
        element: u64,
    ) -> Option<(&'t Tensor<'t>, u64)> {
        let mut before = entry;
        for tensor in tensors.iter().filter(|tensor| self.has(tensor)) {
            let entries = tensor.len.div_ceil(LONGEST);
            if before < entries {
                return Some((tensor, before * LONGEST + element));
            }
            before -= entries;
        }
        None
    }
}
