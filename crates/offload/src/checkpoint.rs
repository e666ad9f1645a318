//! A mover moves what a checkpointed step stores.

use freeboard_checkpoint::Offload;
use freeboard_device::Transfer;

use crate::{Away, Leaving, Movable, Mover, OffloadError, Returning};

macro_rules! offloads {
    ($($mover:ty),*) => {
        $(impl<V, E, D> Offload<V, E> for $mover
        where
            V: Movable<D>,
            E: From<OffloadError>,
            D: Transfer + 'static,
        {
            type Leaving = Leaving<D>;
            type Away = Away<V, D>;
            type Arriving = Returning<V, D>;

            fn begin_out(&mut self, value: &V) -> Result<Leaving<D>, E> {
                Ok(self.depart(value)?)
            }

            fn finish_out(&mut self, value: V, leaving: Leaving<D>) -> Result<Away<V, D>, E> {
                Ok(self.release(value, leaving).map_err(OffloadError::from)?)
            }

            fn begin_back(&mut self, away: Away<V, D>) -> Result<Returning<V, D>, E> {
                Ok(self.fetch(away).map_err(OffloadError::from)?)
            }

            fn finish_back(&mut self, arriving: Returning<V, D>) -> Result<V, E> {
                Ok(self.arrive(arriving).map_err(OffloadError::from)?)
            }
        })*
    };
}
offloads!(Mover<D>, &Mover<D>);
