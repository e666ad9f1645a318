//! Buffers on a GPU in cudarc's functions, on a fake driver. The tests take turns.
#![allow(unsafe_code, reason = "launches are the program's responsibility")]
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use std::sync::Arc;

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DevicePtr, DeviceSlice, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use freeboard_allocator::{CachingAllocator, Config};
use freeboard_buffer::{BufferError, DeviceBuffer, PinnedAllocator};
use freeboard_device::Order;
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_fake_cuda::{Fake, Live};
use freeboard_units::StreamId;
use parking_lot::{Mutex, MutexGuard};

const PTX: &str = include_str!("../../../tests/gpu/kernels.ptx");

type Buffer<T> = DeviceBuffer<T, CudaDevice>;

/// A driver, for one test at a time, a context in multi-stream mode, and two of its streams, which
/// the device knows.
struct World {
    fake: &'static Fake,
    allocator: Arc<CachingAllocator<CudaDevice>>,
    context: Arc<CudaContext>,
    home: Arc<CudaStream>,
    other: Arc<CudaStream>,
    ids: [StreamId; 2],
    _turn: MutexGuard<'static, ()>,
}

impl World {
    fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock();
        let fake = Fake::shared().unwrap();
        fake.clear_failures();
        // SAFETY: the fake driver has the real one's functions, with the same meanings.
        let driver = Some(unsafe { Driver::open(fake.path()) }.unwrap());
        let options = CudaOptions { driver, ..CudaOptions::default() };
        let context = CudaContext::new(0).unwrap();
        let device = CudaDevice::from_cudarc_with(&context, options).unwrap();
        let (home, other) = (context.new_stream().unwrap(), context.new_stream().unwrap());
        let ids = [&home, &other].map(|stream| device.stream_of(stream).unwrap());
        let allocator = Arc::new(CachingAllocator::new(device, Config::default()).unwrap());
        Self { fake, allocator, context, home, other, ids, _turn: turn }
    }

    fn device(&self) -> &CudaDevice {
        self.allocator.device()
    }

    fn buffer<T: freeboard_buffer::Element>(&self, elements: &[T]) -> Buffer<T> {
        DeviceBuffer::from_slice(&self.allocator, elements, self.ids[0]).unwrap()
    }

    /// Calls that have to do with the order of streams.
    fn order_calls(&self) -> u64 {
        let calls = ["cuEventCreate", "cuEventRecord", "cuStreamWaitEvent", "cuStreamSynchronize"];
        calls.iter().map(|call| self.fake.calls(call)).sum()
    }

    fn free_calls(&self) -> u64 {
        let calls = ["cuMemFree_v2", "cuMemFreeAsync", "cuMemUnmap", "cuMemRelease"];
        calls.iter().map(|call| self.fake.calls(call)).sum()
    }
}

/// Runs a kernel of the fake driver on a stream: `count` words of the buffer become `value`.
macro_rules! touch {
    ($world:expr, $stream:expr, $buffer:expr, $count:expr, $value:expr) => {{
        let source = Ptx::from_src(PTX);
        let module = $world.context.load_module(source).unwrap();
        let function = module.load_function("freeboard_touch").unwrap();
        let (count, value) = ($count as u64, $value as u32);
        let mut launch = $stream.launch_builder(&function);
        launch.arg($buffer).arg(&count).arg(&value);
        // SAFETY: the kernel takes these arguments, and the buffer has that many words.
        unsafe { launch.launch(LaunchConfig::for_num_elems(1)) }.unwrap();
    }};
}

#[test]
fn copies_of_cudarc_take_buffers_and_views_and_need_no_event_on_the_home_stream() {
    let world = World::new();
    let mut buffer = world.buffer(&[0_u32; 8]);
    let mut second = world.buffer(&[9_u32; 4]);
    let calls = world.order_calls();
    world.home.memcpy_htod(&[1, 2, 3, 4, 5, 6, 7, 8], &mut buffer).unwrap();
    world.home.memset_zeros(&mut buffer.slice_mut(6..).unwrap()).unwrap();
    world.home.memcpy_dtod(&buffer.slice(2..6).unwrap(), &mut second).unwrap();
    assert_eq!(world.order_calls(), calls);
    assert_eq!(world.home.clone_dtoh(&second).unwrap(), [3, 4, 5, 6]);
    assert_eq!(world.home.clone_dtoh(&buffer).unwrap(), [1, 2, 3, 4, 5, 6, 0, 0]);
    let mut theirs: CudaSlice<u32> = world.home.alloc_zeros(4).unwrap();
    world.home.memcpy_dtod(&second, &mut theirs).unwrap();
    assert_eq!(world.home.clone_dtoh(&theirs).unwrap(), [3, 4, 5, 6]);
    assert_eq!((DeviceSlice::len(&buffer), DeviceSlice::num_bytes(&second)), (8, 16));
    assert_eq!(DeviceSlice::stream(&buffer).cu_stream(), world.home.cu_stream());
}

#[test]
fn kernels_take_buffers_views_and_guards() {
    let world = World::new();
    let mut buffer = world.buffer(&[0_u32; 8]);
    let calls = world.order_calls();
    touch!(world, world.home, &mut buffer, 8, 5);
    let mut end = buffer.slice_mut(6..).unwrap();
    touch!(world, world.home, &mut end, 2, 6);
    let start = buffer.slice(..1).unwrap();
    touch!(world, world.home, &start, 1, 4);
    assert_eq!(world.order_calls(), calls);
    let waits = world.fake.calls("cuStreamWaitEvent");
    let mut lent = buffer.on_mut(world.ids[1]).unwrap();
    touch!(world, world.other, &mut lent, 1, 3);
    assert_eq!(world.fake.calls("cuStreamWaitEvent"), waits + 1);
    drop(lent);
    assert_eq!(world.fake.calls("cuStreamWaitEvent"), waits + 2);
    assert_eq!(buffer.to_vec().unwrap(), [3, 5, 5, 5, 5, 5, 6, 6]);
}

#[test]
fn a_known_stream_is_put_in_order_and_holds_the_memory_even_without_event_tracking() {
    for tracking in [true, false] {
        let world = World::new();
        if !tracking {
            // SAFETY: what cudarc then no longer orders is ordered here.
            unsafe { world.context.disable_event_tracking() };
        }
        let mut buffer = world.buffer(&[7_u32; 1000]);
        let waits = world.fake.calls("cuStreamWaitEvent");
        world.other.memcpy_htod(&[8; 1000], &mut buffer).unwrap();
        assert_eq!(world.fake.calls("cuStreamWaitEvent"), waits + 1, "the other waits for home");
        touch!(world, world.home, &mut buffer, 1, 9);
        assert_eq!(world.fake.calls("cuStreamWaitEvent"), waits + 2, "home waits for the other");
        buffer.slice_mut(..1).unwrap().fill(1).unwrap();
        assert_eq!(world.fake.calls("cuStreamWaitEvent"), waits + 2, "only once");

        let address = buffer.address();
        let handle = world.device().raw_stream(world.ids[1]).unwrap();
        assert!(world.fake.hold(handle, true));
        drop(buffer);
        let next = Buffer::<u32>::uninit(&world.allocator, 1000, world.ids[0]).unwrap();
        assert_ne!(next.address(), address, "the other stream may still use the memory");
        world.fake.hold(handle, false);
        // SAFETY: nothing was made while it was off.
        unsafe { world.context.enable_event_tracking() };
    }
}

#[test]
fn an_unknown_stream_is_waited_for() {
    let world = World::new();
    let unknown = world.context.new_stream().unwrap();
    let buffer = world.buffer(&[7_u32; 4]);
    let synchronized = world.fake.calls("cuStreamSynchronize");
    let (address, done) = buffer.device_ptr(&unknown);
    assert_eq!(address, buffer.address().get());
    assert_eq!(world.fake.calls("cuStreamSynchronize"), synchronized + 1, "the home stream");
    drop(done);
    assert_eq!(world.fake.calls("cuStreamSynchronize"), synchronized + 2, "the unknown stream");
}

#[test]
fn a_lent_slice_works_and_never_frees() {
    for tracking in [true, false] {
        let world = World::new();
        if !tracking {
            // SAFETY: one stream only is used below.
            unsafe { world.context.disable_event_tracking() };
        }
        let mut buffer = world.buffer(&[1_u32, 2, 3, 4]);
        let (frees, events) = (world.free_calls(), world.fake.live().events);
        let lent = buffer.as_cuda_slice().unwrap();
        assert_eq!(world.home.clone_dtoh(&*lent).unwrap(), [1, 2, 3, 4]);
        drop(lent);
        let mut lent = buffer.as_cuda_slice_mut().unwrap();
        world.home.memset_zeros(&mut lent.view_mut().slice_mut(1..3)).unwrap();
        assert_eq!(lent.len(), 4);
        drop(lent);
        let lent = buffer.slice(3..).unwrap().as_cuda_slice().map(|lent| lent.len()).unwrap();
        assert_eq!(lent, 1);
        assert_eq!((world.free_calls(), world.fake.live().events), (frees, events));
        world.context.check_err().unwrap();
        world.home.synchronize().unwrap();
        assert_eq!(buffer.to_vec().unwrap(), [1, 0, 0, 4]);
        // SAFETY: nothing was made while it was off.
        unsafe { world.context.enable_event_tracking() };
    }
}

#[test]
fn a_stream_that_cudarc_did_not_make_is_stood_in_for_but_lends_no_slice() {
    let world = World::new();
    let own = world.device().create_stream().unwrap();
    let mut buffer = DeviceBuffer::from_slice(&world.allocator, &[1_u8, 2], own).unwrap();
    assert!(DeviceSlice::stream(&buffer).cu_stream().is_null());
    world.home.memcpy_htod(&[3, 4], &mut buffer).unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [3, 4]);
    let error = buffer.as_cuda_slice().unwrap_err();
    assert!(matches!(error, BufferError::Device(_)), "{error}");
    assert!(error.to_string().contains("stream_of"), "{error}");
}

#[test]
fn a_graph_gets_no_host_memory() {
    let world = World::new();
    let pinned = PinnedAllocator::new(&world.allocator).unwrap();
    let mut buffer = world.buffer(&[1_u64, 2]);
    let elements = pinned.from_slice(&[3, 4]).unwrap();
    world.home.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    let copies = world.fake.calls("cuMemcpyHtoDAsync_v2");
    for error in [
        buffer.copy_from_slice(&[5, 6]).unwrap_err(),
        buffer.fill(7).unwrap_err(), // no pattern: it would upload a piece
        buffer.to_vec().unwrap_err(),
        buffer.upload(elements).map(drop).unwrap_err().into(),
    ] {
        assert!(matches!(error, BufferError::Capturing { stream } if stream == world.ids[0]));
    }
    buffer.zero().unwrap(); // a graph may well contain that
    assert_eq!(world.fake.calls("cuMemcpyHtoDAsync_v2"), copies);
    let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
    world.home.end_capture(flags).unwrap();
}

#[test]
fn nothing_is_left_on_the_driver() {
    let world = World::new();
    let pinned = PinnedAllocator::new(&world.allocator).unwrap();
    let mut buffer = world.buffer(&[0.0_f32; 100]);
    let transfer = buffer.upload(pinned.from_slice(&[0.5; 100]).unwrap()).unwrap();
    assert_eq!(transfer.wait().unwrap()[..], [0.5; 100]);
    buffer.on_mut(world.ids[1]).unwrap().slice_mut(50..).unwrap().fill(1.5).unwrap();
    assert_eq!(buffer.slice(49..51).unwrap().to_vec().unwrap(), [0.5, 1.5]);
    let World { fake, allocator, context, home, other, _turn, .. } = world;
    drop((buffer, pinned, allocator, home, other, context));
    assert_eq!(fake.live(), Live::default());
}
