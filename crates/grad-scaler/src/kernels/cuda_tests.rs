//! The kernels as GPUs have them, on the fake driver, which runs the same source on the host: every
//! bit is compared with what plain scalar code makes of the same lists.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

use bytemuck::{Pod, Zeroable, bytes_of, cast, cast_slice, pod_read_unaligned};
use freeboard_device::{Compute, Grid, Kernel, Memory, Transfer};
use freeboard_device_cuda::{CudaDevice, CudaOptions, Driver};
use freeboard_fake_cuda::{Fake, Live};
use freeboard_units::{Address, AddressRange, Bytes, StreamId};
use half::{bf16, f16};

use super::list::{
    APPLY_RULE, Bad, CHECK, CHECK_AFTER, CHUNK, ENTRIES, Entry, Found, MULTIPLY, MultiplyList,
    SET_SCALE, State, THREADS, UpdateScale,
};
use super::{MULTIPLY_LIST, UPDATE_SCALE};
use crate::rule::{Change, Numbers, Rule};

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % limit as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn float(&mut self) -> f32 {
        f32::from_bits(u32::try_from(self.bits() >> 32).unwrap())
    }
}

/// Pages of a fake GPU, with nothing around them.
struct World {
    fake: Fake,
    device: CudaDevice,
    range: AddressRange,
}

impl World {
    fn new() -> Self {
        let fake = Fake::load().unwrap();
        // SAFETY: the fake driver has the real one's functions, with the same meanings.
        let driver = unsafe { Driver::open(fake.path()) }.unwrap();
        let options = CudaOptions { driver: Some(driver), ..CudaOptions::default() };
        let device = CudaDevice::with_options(0, options).unwrap();
        let range = device.reserve(Bytes::mib(2)).unwrap();
        let handle = device.create(range.size()).unwrap();
        device.map(range, handle).unwrap();
        device.set_access(range).unwrap();
        device.release(handle).unwrap();
        Self { fake, device, range }
    }

    fn len(&self) -> usize {
        usize::try_from(self.range.size().get()).unwrap()
    }

    fn address(&self, at: usize) -> Address {
        self.range.start() + Bytes::new(at as u64)
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let size = Bytes::new(bytes.len() as u64);
        // SAFETY: the fake driver copies at once, and refuses what is not open.
        unsafe { self.device.upload(self.address(at), bytes.as_ptr(), size, StreamId::DEFAULT) }
            .unwrap();
    }

    fn read(&self, at: usize, len: usize) -> Vec<u8> {
        let (mut bytes, size) = (vec![0; len], Bytes::new(len as u64));
        let to = bytes.as_mut_ptr();
        // SAFETY: as above.
        unsafe { self.device.download(to, self.address(at), size, StreamId::DEFAULT) }.unwrap();
        bytes
    }

    fn launch<T: Pod>(&self, kernel: &'static Kernel, blocks: u32, threads: u32, parameter: &T) {
        let words = cast_slice(bytes_of(parameter));
        let grid = Grid { blocks, threads };
        // SAFETY: the kernel takes this parameter, and the fake driver looks at every address.
        unsafe { self.device.launch(kernel, grid, words, StreamId::DEFAULT) }.unwrap();
    }

    fn finish(self) {
        self.device.unmap(self.range).unwrap();
        self.device.unreserve(self.range).unwrap();
        drop(self.device);
        assert_eq!(self.fake.live(), Live::default());
    }
}

const SIZES: [usize; 4] = [4, 2, 2, 8];

/// A number of a type as f64, which holds all of them.
fn number(kind: usize, bits: &[u8]) -> f64 {
    match kind {
        0 => pod_read_unaligned::<f32>(bits).into(),
        1 => pod_read_unaligned::<f16>(bits).into(),
        2 => pod_read_unaligned::<bf16>(bits).into(),
        _ => pod_read_unaligned(bits),
    }
}

/// The product, in the type's bytes.
fn multiplied(kind: usize, bits: &[u8], factor: f32) -> Vec<u8> {
    match kind {
        0 => bytes_of(&(pod_read_unaligned::<f32>(bits) * factor)).to_vec(),
        1 => bytes_of(&f16::from_f32(pod_read_unaligned::<f16>(bits).to_f32() * factor)).to_vec(),
        2 => bytes_of(&bf16::from_f32(pod_read_unaligned::<bf16>(bits).to_f32() * factor)).to_vec(),
        _ => bytes_of(&(pod_read_unaligned::<f64>(bits) * f64::from(factor))).to_vec(),
    }
}

/// A list of tensors from the end of the memory on, backwards, with bytes of nobody between them.
fn list(world: &World, random: &mut Random) -> (MultiplyList, u32) {
    let mut list = MultiplyList::zeroed();
    let (mut end, mut blocks) = (world.len(), 0);
    let most = random.of(&[1, 3, 40, ENTRIES]);
    for entry in &mut list.entries[..most] {
        let kind = random.below(4);
        let chunk = CHUNK as usize;
        let longest = random.of(&[9, 40, 700, 3 * chunk]);
        let len = match random.below(4) {
            0 => random.of(&[1, 511 * 4, 512 * 4 * 4, chunk - 1, chunk, chunk + 1, 2 * chunk]),
            _ => 1 + random.below(longest),
        };
        let start = end.checked_sub(len * SIZES[kind]).map(|start| start - start % SIZES[kind]);
        let Some(start) = start.filter(|&start| start > TENSORS) else { break };
        *entry = Entry {
            start: world.address(start).get() | (kind as u64) << 62,
            len: u32::try_from(len).unwrap(),
            first_block: blocks,
        };
        blocks += entry.len.div_ceil(CHUNK);
        list.count += 1;
        end = start - random.below(40);
    }
    let whole = [1.0, 0.5, 1.0 / 65_536.0, -3.1, 1e30, 1e-40, 0.0, f32::INFINITY, f32::NAN];
    let factor = if random.below(3) == 0 { random.float() } else { random.of(&whole) };
    world.write(FACTOR, bytes_of(&factor));
    (list.factor, list.found) = (world.address(FACTOR).get(), world.address(FOUND).get());
    list.first = u32::try_from(random.below(1 << 24)).unwrap();
    list.flags = random.of(&[CHECK, MULTIPLY, CHECK | MULTIPLY, CHECK | CHECK_AFTER | MULTIPLY]);
    (list, blocks)
}

/// Where things lie before the tensors.
const FACTOR: usize = 0;
const FOUND: usize = 16;
const TENSORS: usize = 64;

impl Entry {
    /// Its type, and where it begins in the memory.
    fn place(&self, world: &World) -> (usize, usize) {
        let start = Address::new(self.start & u64::MAX >> 2);
        let at = start.get() - world.range.start().get();
        (usize::try_from(self.start >> 62).unwrap(), usize::try_from(at).unwrap())
    }
}

/// Puts numbers into the tensors: any bits, or finite ones, with a few that are not.
#[expect(clippy::cast_possible_truncation, reason = "the number of each type is wanted")]
fn fill(world: &World, list: &MultiplyList, memory: &mut [u8], random: &mut Random) {
    let wild = random.below(3) == 0;
    for word in memory[TENSORS..].chunks_exact_mut(8) {
        // Without a bit in the middle of the exponent no type's is all ones.
        let mask = if wild { u64::MAX } else { !0x0400_0400_0400_0400 };
        word.copy_from_slice(&(random.bits() & mask).to_le_bytes());
    }
    for _ in 0..random.below(4) {
        let entry = &list.entries[random.below(list.count as usize)];
        let (kind, start) = entry.place(world);
        let at = start + SIZES[kind] * random.below(entry.len as usize);
        let power = 10_f64.powi(i32::try_from(random.below(300)).unwrap());
        let value = random.of(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 65_504.0, 3e38, power]);
        let bits = match kind {
            0 => bytes_of(&(value as f32)).to_vec(),
            1 => bytes_of(&f16::from_f64(value)).to_vec(),
            2 => bytes_of(&bf16::from_f64(value)).to_vec(),
            _ => bytes_of(&value).to_vec(),
        };
        memory[at..at + SIZES[kind]].copy_from_slice(&bits);
    }
}

/// What the kernel must do, one number after the other. Returns the least key.
fn reference(world: &World, list: &MultiplyList, memory: &mut [u8]) -> Option<u64> {
    let factor: f32 = pod_read_unaligned(&memory[FACTOR..FACTOR + 4]);
    let has = |flag| list.flags & flag != 0;
    let multiplies = multiplies(list, memory);
    let mut first = None;
    for (index, entry) in list.entries[..list.count as usize].iter().enumerate() {
        let (kind, start) = entry.place(world);
        let numbers =
            memory[start..start + entry.len as usize * SIZES[kind]].chunks_exact_mut(SIZES[kind]);
        for (element, bits) in numbers.enumerate() {
            let before = number(kind, bits);
            if multiplies {
                bits.copy_from_slice(&multiplied(kind, bits, factor));
            }
            let bad = match before {
                _ if before.is_nan() => Bad::NotANumber,
                _ if before.is_infinite() => Bad::Infinite,
                _ if has(CHECK_AFTER) && !number(kind, bits).is_finite() => Bad::Overflow,
                _ => continue,
            };
            let entry = u64::from(list.first) + index as u64;
            first = first.or(Some(entry << 34 | (element as u64) << 2 | bad as u64));
        }
    }
    first.filter(|_| has(CHECK))
}

/// Whether the list's numbers are multiplied; 1 changes nothing.
fn multiplies(list: &MultiplyList, memory: &[u8]) -> bool {
    list.flags & MULTIPLY != 0 && memory[FACTOR..FACTOR + 4] != 1_f32.to_le_bytes()
}

/// Every bit is the same; a NaN that was made is one, whichever it is.
fn compare(world: &World, list: &MultiplyList, found: &mut [u8], wanted: &[u8]) {
    for entry in &list.entries[..list.count as usize] {
        let (kind, start) = entry.place(world);
        let end = start + entry.len as usize * SIZES[kind];
        if !multiplies(list, wanted) || found[start..end] == wanted[start..end] {
            continue;
        }
        for at in (start..end).step_by(SIZES[kind]) {
            let place = at..at + SIZES[kind];
            let both =
                [&found[place.clone()], &wanted[place.clone()]].map(|bits| number(kind, bits));
            if both[0].is_nan() && both[1].is_nan() {
                found[place.clone()].copy_from_slice(&wanted[place]);
            }
        }
    }
    let wrong = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    assert_eq!(wrong, None, "the first byte that differs, of {} tensors", list.count);
}

#[test]
fn random_lists_are_multiplied_and_checked_as_by_scalar_code() {
    let world = World::new();
    let mut random = Random(1);
    let mut findings = [0; 4];
    for case in 0..200 {
        let (list, blocks) = list(&world, &mut random);
        let mut before = world.read(0, world.len());
        fill(&world, &list, &mut before, &mut random);
        let earlier = random.of(&[0, 0, 1, u64::MAX - (1 << 57), !0]);
        let noted = Found { found: u32::from(earlier != 0), reserved: 0, first: earlier };
        before[FOUND..FOUND + 16].copy_from_slice(bytes_of(&noted));

        let mut wanted = before.clone();
        let key = reference(&world, &list, &mut wanted);
        if let Some(key) = key {
            let noted = Found { found: 1_f32.to_bits(), reserved: 0, first: earlier.max(!key) };
            wanted[FOUND..FOUND + 16].copy_from_slice(bytes_of(&noted));
        }
        findings[key.map_or(3, |key| usize::try_from(key & 3).unwrap())] += 1;

        world.write(0, &before);
        // A grid may be too large.
        world.launch(&MULTIPLY_LIST, blocks + case % 2, THREADS, &list);
        compare(&world, &list, &mut world.read(0, world.len()), &wanted);

        world.write(0, &before);
        // SAFETY: the fake GPU's memory is this process's, and the list lies in it.
        unsafe { (MULTIPLY_LIST.host)(cast_slice(bytes_of(&list))) };
        compare(&world, &list, &mut world.read(0, world.len()), &wanted);
    }
    assert!(findings.iter().all(|&count| count > 10), "not every kind was tried: {findings:?}");
    world.finish();
}

/// A rule of any numbers, in the bytes that a `Rule` has.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AnyRule {
    factors: [f64; 2],
    limits: [f32; 2],
    counts: [i32; 2],
    refill: u32,
    initial_scale: f32,
}

fn rule(random: &mut Random) -> Rule {
    let wild = [f64::from(random.float()), f64::from(random.float())];
    let floor = random.float().abs();
    cast(AnyRule {
        factors: random.of(&[[2.0, 0.5], [1.001, 0.7], [1e30, 1e-30], wild]),
        limits: random.of(&[
            [0.0, f32::INFINITY],
            [1.0, 65_536.0],
            [floor, f32::INFINITY],
            [2.0, 2.0],
        ]),
        counts: [random.of(&[1, 2, 3, 7, i32::MIN]), random.of(&[1, 2, 3])],
        refill: u32::from(random.below(2) == 1),
        initial_scale: random.float(),
    })
}

fn same(found: f32, wanted: f32) -> bool {
    found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan()
}

/// What the kernel must make of a state.
#[expect(clippy::cast_possible_truncation, reason = "the inverse is rounded")]
fn updated(update: &UpdateScale, rule: &Rule, found: bool, mut state: State) -> State {
    if update.mode == SET_SCALE {
        state.scale = update.new_scale;
    } else {
        let State { scale, growth_tracker, hysteresis, .. } = state;
        let (next, change) = rule.next(Numbers { scale, growth_tracker, hysteresis }, found);
        (state.scale, state.growth_tracker) = (next.scale, next.growth_tracker);
        state.hysteresis = next.hysteresis;
        state.updates += 1;
        state.skipped += u64::from(found);
        state.grew += u64::from(change == Change::Grew);
        state.backed_off += u64::from(change == Change::BackedOff);
        state.at_floor += u64::from(change == Change::AtFloor);
    }
    state.inverse = (1.0 / f64::from(state.scale)) as f32;
    state
}

#[test]
fn updates_are_those_of_the_rule() {
    let world = World::new();
    let mut random = Random(2);
    let mut changed = [0; 4];
    for case in 0..20_000 {
        let rule = rule(&mut random);
        let mut state = State { updates: 7, reserved: 9, ..State::zeroed() };
        state.scale = if random.below(2) == 0 {
            random.float()
        } else {
            random.of(&[0.0, 1.0, 2.0, 65_536.0])
        };
        state.growth_tracker = random.of(&[0, 1, 2, 6, i32::MAX, -1]);
        state.hysteresis = random.of(&[-1, 0, 1, 2, 3]);
        let founds: Vec<Found> = (0..random.below(4))
            .map(|_| Found {
                found: random.of(&[0, 0, 1_f32.to_bits()]),
                reserved: 0,
                first: random.bits(),
            })
            .collect();
        let update = UpdateScale {
            state: world.address(0).get(),
            founds: world.address(64).get(),
            count: u32::try_from(founds.len()).unwrap(),
            mode: random.of(&[APPLY_RULE, APPLY_RULE, APPLY_RULE, SET_SCALE]),
            new_scale: random.float(),
            elsewhere: random.of(&[0, 0, 0, 1]),
            rule: cast(rule),
        };
        world.write(0, bytes_of(&state));
        world.write(64, cast_slice(&founds));
        world.launch(&UPDATE_SCALE, 1 + case % 2, 1 + case % 3, &update);

        let was_found = update.elsewhere == 1 || founds.iter().any(|found| found.found != 0);
        let wanted = updated(&update, &rule, was_found, state);
        let found: State = pod_read_unaligned(&world.read(0, size_of::<State>()));
        assert!(same(found.scale, wanted.scale), "{found:?} for {wanted:?} by {rule:?}");
        assert!(same(found.inverse, wanted.inverse), "{found:?} for {wanted:?} by {rule:?}");
        let counted = State { scale: 0.0, inverse: 0.0, ..found };
        assert_eq!(counted, State { scale: 0.0, inverse: 0.0, ..wanted }, "by {rule:?}");
        assert!(world.read(64, 16 * founds.len()).iter().all(|&byte| byte == 0));
        for (count, moved) in
            changed.iter_mut().zip([found.skipped, found.grew, found.backed_off, found.at_floor])
        {
            *count += moved;
        }
    }
    assert!(changed.iter().all(|&count| count > 100), "not everything was tried: {changed:?}");
    world.finish();
}
