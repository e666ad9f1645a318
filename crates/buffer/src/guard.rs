//! [`OnStream`] and [`OnStreamMut`]: a buffer or a view, lent to another stream.

use std::marker::PhantomData;

use freeboard_device::Transfer;

use crate::element::Element;
use crate::order::Entered;
use crate::view::{View, ViewMut};

/// Memory lent to another stream, to read from.
///
/// From its creation on, that stream waits, on the device, for what the memory's own stream had
/// been given by then; when it is dropped, the own stream waits for what that stream was given
/// meanwhile. If that wait cannot be set up, the drop waits for the stream itself. Where both are
/// the same stream, nothing is waited for and no driver call is made.
///
/// It may be leaked: the memory is not given to anybody else before that stream is past its work,
/// and work that conflicts waits for it.
#[must_use = "dropping it ends the other stream's use"]
pub struct OnStream<'a, T: Element, D: Transfer> {
    pub(crate) entered: Entered<'a, D>,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<'a, T: Element, D: Transfer> OnStream<'a, T, D> {
    pub(crate) const fn new(entered: Entered<'a, D>, len: usize) -> Self {
        Self { entered, len, element: PhantomData }
    }

    /// All of it, on the other stream.
    pub fn view(&self) -> View<'_, T, D> {
        View::new(self.entered.span(), self.len)
    }
}

/// Memory lent to another stream, to write to; otherwise as [`OnStream`].
#[must_use = "dropping it ends the other stream's use"]
pub struct OnStreamMut<'a, T: Element, D: Transfer> {
    pub(crate) entered: Entered<'a, D>,
    len: usize,
    element: PhantomData<fn() -> T>,
}

impl<'a, T: Element, D: Transfer> OnStreamMut<'a, T, D> {
    pub(crate) const fn new(entered: Entered<'a, D>, len: usize) -> Self {
        Self { entered, len, element: PhantomData }
    }

    /// All of it, on the other stream.
    pub fn view(&self) -> View<'_, T, D> {
        View::new(self.entered.span(), self.len)
    }

    /// All of it, on the other stream, to write to.
    pub fn view_mut(&mut self) -> ViewMut<'_, T, D> {
        ViewMut::new(self.entered.span(), self.len)
    }
}
