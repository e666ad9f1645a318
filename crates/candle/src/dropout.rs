//! [`dropout`]: its mask is a function of where it is used, so that it can be computed again.

use candle_core::backend::BackendDevice;
use candle_core::op::Mul;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, MetalStorage, Shape, Tensor};
use freeboard_checkpoint::Random;
use half::{bf16, f16};

use crate::Error;
use crate::nodes::Stored;

/// Sets elements to zero with probability `p`, and multiplies the others by 1 / (1 - p).
///
/// Which ones depends on `random` and the element's place alone: a checkpoint computes the same
/// again, on any thread and device. Hand every use its own [`Random::fork`]. No mask is kept: the
/// backward pass makes it again, on the host; on a GPU it is copied there.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use freeboard_candle::{Random, dropout};
///
/// let x = Tensor::ones(1000, DType::F32, &Device::Cpu)?;
/// let layer = Random::new(42).fork(7).fork(3); // step 7, layer 3
/// let y = dropout(&x, 0.2, layer)?.to_vec1::<f32>()?;
/// assert_eq!(y, dropout(&x, 0.2, layer)?.to_vec1::<f32>()?);
/// assert!(y.iter().all(|&y| y == 0.0 || y == 1.25));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Probability`] for a `p` outside [0, 1); [`Error::Type`] for elements that are no f64,
/// f32, f16 or bf16.
pub fn dropout(x: &Tensor, p: f32, random: Random) -> Result<Tensor, Error> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::Probability { p });
    }
    if !matches!(x.dtype(), DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
        return Err(Error::Type { what: "dropout".into(), dtype: x.dtype() });
    }
    if p == 0.0 {
        return Ok(x.clone());
    }
    Ok(x.apply_op1(Dropout { p, random })?)
}

#[derive(Clone, Copy)]
struct Dropout {
    p: f32,
    random: Random,
}

impl Dropout {
    fn mask(self, count: usize, dtype: DType) -> candle_core::Result<CpuStorage> {
        let mut numbers = vec![0.0_f32; count];
        self.random.fill(&mut numbers);
        let kept = 1.0 / (1.0 - f64::from(self.p));
        let factors = numbers.iter().map(|&number| if number < self.p { 0.0 } else { kept });
        Ok(match dtype {
            DType::F64 => CpuStorage::F64(factors.collect()),
            DType::F16 => CpuStorage::F16(factors.map(f16::from_f64).collect()),
            DType::BF16 => CpuStorage::BF16(factors.map(bf16::from_f64).collect()),
            #[expect(clippy::cast_possible_truncation, reason = "f32 is what is wanted")]
            DType::F32 => CpuStorage::F32(factors.map(|factor| factor as f32).collect()),
            dtype => return Err(Error::Type { what: "dropout".into(), dtype }.into()),
        })
    }

    fn apply<S: Stored>(self, storage: &S, layout: &Layout) -> candle_core::Result<(S, Shape)> {
        let mask = self.mask(layout.shape().elem_count(), storage.dtype())?;
        let mask = storage.device().storage_from_cpu_storage_owned(mask)?;
        let flat = Layout::contiguous(layout.shape());
        Ok((storage.binary_impl::<Mul>(&mask, layout, &flat)?, layout.shape().clone()))
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "freeboard-dropout"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        self.apply(storage, layout)
    }

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        self.apply(storage, layout)
    }

    fn metal_fwd(
        &self,
        storage: &MetalStorage,
        layout: &Layout,
    ) -> candle_core::Result<(MetalStorage, Shape)> {
        self.apply(storage, layout)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        gradient.apply_op1_no_bwd(self).map(Some)
    }
}
