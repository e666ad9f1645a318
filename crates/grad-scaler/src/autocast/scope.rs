//! [`Scope`], [`Policy`], [`Autocast`]: where autocast is on, thread by thread.

use std::borrow::Cow;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

use freeboard_units::Dtype;

use super::cache;
use super::casts::Casts;
use super::error::AutocastError;
use super::ops::Name;
use super::rule::{Backend, Rule};

type Override = (Cow<'static, str>, Rule);

/// What holds for one backend.
#[derive(Clone, Debug, Default)]
struct Setting {
    /// The type that autocast casts down to; none where it is off.
    lower: Option<Dtype>,
    /// Innermost first.
    overrides: Option<Arc<[Override]>>,
}

/// What holds in a thread at a moment: on or off and the lower type for each backend, rules of the
/// program's own, whether weights are cached. Off by default. Cheap to clone; `Send`.
///
/// PyTorch's autocast does not reach threads that a scope starts; this carries it there:
///
/// ```
/// use freeboard_grad_scaler::autocast::{Policy, autocast, dtype_for};
/// use freeboard_units::Dtype::{BF16, F32};
///
/// let dtype = autocast(BF16, || {
///     let policy = Policy::current();
///     std::thread::scope(|threads| {
///         let worker = threads.spawn(|| policy.run(|| dtype_for("linear", &[F32])));
///         worker.join().expect("the worker does not panic")
///     })
/// })??;
/// assert_eq!(dtype, BF16);
/// # Ok::<_, freeboard_grad_scaler::autocast::AutocastError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policy {
    cuda: Setting,
    cpu: Setting,
    is_cache_off: bool,
}

impl Policy {
    /// What holds in this thread now.
    #[must_use]
    pub fn current() -> Self {
        with_current(Self::clone)
    }

    /// The type that autocast casts down to on this backend, or `None` where it is off.
    #[must_use]
    pub fn lower(&self, backend: Backend) -> Option<Dtype> {
        self.setting(backend).lower
    }

    /// Whether casts of weights are kept within scopes. Default: yes.
    #[must_use]
    pub fn is_cache_enabled(&self) -> bool {
        !self.is_cache_off
    }

    /// Runs `work` under exactly this, whatever holds around it. Afterwards all is as before, also
    /// if it panics.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _scope = Autocast::push(self.clone());
        work()
    }

    /// What to cast before this op runs on inputs of these types: [`cast_for`] for this policy.
    ///
    /// # Errors
    ///
    /// As [`cast_for`].
    pub fn cast_for(
        &self,
        backend: Backend,
        op: &str,
        dtypes: &[Dtype],
    ) -> Result<Casts, AutocastError> {
        let setting = self.setting(backend);
        let Some(lower) = setting.lower else { return Ok(Casts::NONE) };
        let name = Name::parse(op);
        let mut own = setting.overrides.iter().flat_map(|list| list.iter());
        let own = own.find(|(given, _)| Name::parse(given).covers(name)).map(|&(_, rule)| rule);
        let rule = own.or_else(|| name.rule(backend)).unwrap_or(Rule::Passthrough);
        Casts::decide(op, rule, lower, &dtypes[..dtypes.len().min(name.deciding())])
    }

    fn setting(&self, backend: Backend) -> &Setting {
        match backend {
            Backend::Cuda => &self.cuda,
            Backend::Cpu => &self.cpu,
        }
    }
}

/// A scope to be entered: on with a lower type, or off, within whatever holds around it.
///
/// ```
/// use freeboard_grad_scaler::autocast::{Rule, Scope, dtype_for};
/// use freeboard_units::Dtype::{BF16, F32};
///
/// let scope = Scope::new(BF16)?.with("softmax", Rule::Lower);
/// assert_eq!(scope.run(|| dtype_for("softmax", &[F32]))?, BF16);
/// # Ok::<_, freeboard_grad_scaler::autocast::AutocastError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a scope does nothing until it is entered"]
pub struct Scope {
    lower: Option<Dtype>,
    backend: Option<Backend>,
    is_cache_off: Option<bool>,
    overrides: Vec<Override>,
}

impl Scope {
    /// Autocast to `F16` or `BF16`, on every backend.
    ///
    /// # Errors
    ///
    /// [`AutocastError::Lower`] for any other type. (PyTorch warns and switches autocast off; on
    /// CUDA it takes any type.)
    pub fn new(lower: Dtype) -> Result<Self, AutocastError> {
        if !matches!(lower, Dtype::F16 | Dtype::BF16) {
            return Err(AutocastError::Lower(lower));
        }
        Ok(Self { lower: Some(lower), ..Self::off() })
    }

    /// No autocast, on every backend: PyTorch's `enabled=False`.
    pub fn off() -> Self {
        Self { lower: None, backend: None, is_cache_off: None, overrides: Vec::new() }
    }

    /// For this backend only, as PyTorch's `device_type`; the other stays as it is.
    pub fn on(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Gives an op a rule of its own, here and in scopes within, which may give it another. The name
    /// may be any, also of an op PyTorch does not know; without an overload it means all of them.
    pub fn with(mut self, op: impl Into<Cow<'static, str>>, rule: Rule) -> Self {
        self.overrides.insert(0, (op.into(), rule));
        self
    }

    /// Whether casts of weights are kept. Default: as around the scope; outside every scope, yes.
    pub fn cache_enabled(mut self, is_enabled: bool) -> Self {
        self.is_cache_off = Some(!is_enabled);
        self
    }

    /// Enters the scope in this thread, until the guard is dropped.
    pub fn enter(self) -> Autocast {
        let mut policy = Policy::current();
        for backend in [Backend::Cuda, Backend::Cpu] {
            if self.backend.is_some_and(|only| only != backend) {
                continue;
            }
            let setting = match backend {
                Backend::Cuda => &mut policy.cuda,
                Backend::Cpu => &mut policy.cpu,
            };
            setting.lower = self.lower;
            if !self.overrides.is_empty() {
                setting.overrides = Some(self.overrides_within(setting.overrides.as_deref()));
            }
        }
        policy.is_cache_off = self.is_cache_off.unwrap_or(policy.is_cache_off);
        Autocast::push(policy)
    }

    /// Runs `work` in the scope. Afterwards all is as before, also if it panics.
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        let _scope = self.enter();
        work()
    }

    /// Those of the scope, then those around it whose names it does not repeat.
    fn overrides_within(&self, around: Option<&[Override]>) -> Arc<[Override]> {
        let is_new = |one: &&Override| !self.overrides.iter().any(|own| own.0 == one.0);
        let around = around.unwrap_or_default().iter().filter(is_new);
        self.overrides.iter().chain(around).cloned().collect()
    }
}

/// A scope that was entered: autocast holds in this thread until this is dropped.
///
/// Guards may be dropped in any order: what was entered last and not left yet holds.
#[derive(Debug)]
#[must_use = "autocast holds until the guard is dropped, which is at once"]
pub struct Autocast {
    number: u64,
    /// A guard belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Enters a scope with this lower type, on every backend.
    ///
    /// # Errors
    ///
    /// As [`Scope::new`].
    pub fn enter(lower: Dtype) -> Result<Self, AutocastError> {
        Ok(Scope::new(lower)?.enter())
    }

    fn push(policy: Policy) -> Self {
        let number = SCOPES.try_with(|scopes| {
            let mut scopes = scopes.borrow_mut();
            scopes.entered += 1;
            let number = scopes.entered;
            scopes.open.push((number, policy));
            number
        });
        Self { number: number.unwrap_or(0), thread: PhantomData }
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // A thread that ends has no scopes any more. Policies are dropped outside the borrow.
        let left = SCOPES.try_with(|scopes| {
            let open = &mut scopes.borrow_mut().open;
            let place = open.iter().rposition(|&(number, _)| number == self.number)?;
            Some((open.remove(place), open.is_empty()))
        });
        if let Ok(Some((_, true))) = left {
            cache::clear_cache();
        }
    }
}

/// The scopes of a thread.
struct Scopes {
    entered: u64,
    /// With the number of each; the last holds.
    open: Vec<(u64, Policy)>,
}

thread_local! {
    static SCOPES: RefCell<Scopes> = const { RefCell::new(Scopes { entered: 0, open: Vec::new() }) };
}

/// Shows `look` what holds. It must not enter or leave a scope.
fn with_current<R>(look: impl Fn(&Policy) -> R) -> R {
    let shown = SCOPES.try_with(|scopes| scopes.borrow().open.last().map(|(_, held)| look(held)));
    shown.ok().flatten().unwrap_or_else(|| look(&Policy::default()))
}

/// Whether a cast of a weight to this type is to be kept.
pub(super) fn is_cached(dtype: Dtype) -> bool {
    let lower = Some(dtype);
    with_current(|held| !held.is_cache_off && (held.cuda.lower == lower || held.cpu.lower == lower))
}

/// Runs `work` with autocast to `F16` or `BF16`, on every backend: `Scope::new(lower)?.run(work)`.
///
/// # Errors
///
/// As [`Scope::new`].
pub fn autocast<R>(lower: Dtype, work: impl FnOnce() -> R) -> Result<R, AutocastError> {
    Ok(Scope::new(lower)?.run(work))
}

/// Runs `work` without autocast, on every backend: `Scope::off().run(work)`.
pub fn autocast_off<R>(work: impl FnOnce() -> R) -> R {
    Scope::off().run(work)
}

/// What to cast before this op runs on inputs of these types, in their order, under what holds in
/// this thread. By CUDA's lists; [`cast_for_on`] asks others.
///
/// # Errors
///
/// [`AutocastError::Banned`] for such an op; [`AutocastError::Unexpected`] where an op in the widest
/// type cannot take these inputs together.
pub fn cast_for(op: &str, dtypes: &[Dtype]) -> Result<Casts, AutocastError> {
    cast_for_on(Backend::Cuda, op, dtypes)
}

/// As [`cast_for`], by the lists of this backend.
///
/// # Errors
///
/// As [`cast_for`].
pub fn cast_for_on(backend: Backend, op: &str, dtypes: &[Dtype]) -> Result<Casts, AutocastError> {
    with_current(|held| held.cast_for(backend, op, dtypes))
}

/// In which type this op runs on inputs of these types: all are cast as [`cast_for`] says, then to
/// the smallest type that holds them ([`promote`](super::promote)); where autocast sets the output's
/// type, that one. By CUDA's lists; [`dtype_for_on`] asks others.
///
/// # Errors
///
/// As [`cast_for`]; [`AutocastError::NoCommonType`] where no type holds the inputs;
/// [`AutocastError::NoInputs`] where there are none.
pub fn dtype_for(op: &str, dtypes: &[Dtype]) -> Result<Dtype, AutocastError> {
    dtype_for_on(Backend::Cuda, op, dtypes)
}

/// As [`dtype_for`], by the lists of this backend.
///
/// # Errors
///
/// As [`dtype_for`].
pub fn dtype_for_on(backend: Backend, op: &str, dtypes: &[Dtype]) -> Result<Dtype, AutocastError> {
    cast_for_on(backend, op, dtypes)?.dtype(op, dtypes)
}
