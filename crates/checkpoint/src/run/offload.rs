//! [`Offload`]: what moves stored values to the host and back, beside the computation.

/// Moves values of type `T` to the host and back; one call for each of a plan's transfer
/// operations.
///
/// The types say where a value is: `T` on the device, `Leaving` while it is copied out, `Away` on
/// the host alone, `Arriving` while it is copied back. Dropping any of them gives its memory back,
/// once no copy uses it any more. `E` is the error of the segments: an implementation is for every
/// `E` that its own errors convert to.
///
/// Both directions count as done when the device may rely on them: on a GPU, when the compute
/// stream waits for the copy's event, not the host.
pub trait Offload<T, E> {
    /// A copy to the host under way, its host memory with it.
    type Leaving;
    /// What is on the host.
    type Away;
    /// A copy to the device under way, its device memory with it.
    type Arriving;
    /// Whether anything moves; a runner refuses a plan that offloads where it does not.
    const MOVES: bool = true;

    /// Takes host memory and begins to copy `value` there. It is read, not changed, until
    /// [`finish_out`](Self::finish_out).
    ///
    /// # Errors
    /// Its own: no host memory, or the driver's.
    fn begin_out(&mut self, value: &T) -> Result<Self::Leaving, E>;

    /// Waits for that copy and gives the device memory of `value` back.
    ///
    /// # Errors
    /// Its own.
    fn finish_out(&mut self, value: T, leaving: Self::Leaving) -> Result<Self::Away, E>;

    /// Takes device memory and begins to copy back.
    ///
    /// # Errors
    /// Its own: no device memory, or the driver's.
    fn begin_back(&mut self, away: Self::Away) -> Result<Self::Arriving, E>;

    /// Waits for that copy and gives the host memory back.
    ///
    /// # Errors
    /// Its own.
    fn finish_back(&mut self, arriving: Self::Arriving) -> Result<T, E>;
}

/// No offloading: for plans that only keep and recompute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stay;

impl<T, E> Offload<T, E> for Stay {
    type Leaving = ();
    type Away = T;
    type Arriving = T;
    const MOVES: bool = false;

    fn begin_out(&mut self, _: &T) -> Result<(), E> {
        Ok(())
    }

    fn finish_out(&mut self, value: T, (): ()) -> Result<T, E> {
        Ok(value)
    }

    fn begin_back(&mut self, away: T) -> Result<T, E> {
        Ok(away)
    }

    fn finish_back(&mut self, arriving: T) -> Result<T, E> {
        Ok(arriving)
    }
}
