//! [`Form`]: how a tensor's elements lie, so that a copy of them lies alike.

use candle_core::{D, Result, Tensor};

/// How a tensor's elements lie. Modules choose by it (candle-nn's `LayerNorm` even has no gradients
/// for contiguous inputs), so what runs again must see what ran first.
///
/// The base is what is stored: contiguous. The tensor is a view of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Which of the tensor's dimensions the base has, in this order; as they are, if `None`.
    order: Option<Vec<usize>>,
    /// Whether the base has one more element in its last dimension, so that the view has gaps.
    has_gaps: bool,
}

impl Form {
    pub(crate) fn of(tensor: &Tensor) -> Self {
        if tensor.is_contiguous() {
            return Self { order: None, has_gaps: false };
        }
        let mut order: Vec<usize> = (0..tensor.rank()).collect();
        order.sort_by_key(|&dimension| std::cmp::Reverse(tensor.stride()[dimension]));
        let mut strides = vec![0; tensor.rank()];
        let mut stride = 1;
        for &dimension in order.iter().rev() {
            strides[dimension] = stride;
            stride *= tensor.dims()[dimension];
        }
        let is_permuted = !tensor.shape().is_contiguous(&strides);
        Self { order: is_permuted.then_some(order), has_gaps: !is_permuted }
    }

    /// The elements in the base's order. A view where that can be.
    pub(crate) fn pack(&self, tensor: &Tensor) -> Result<Tensor> {
        let tensor = match &self.order {
            Some(order) => tensor.permute(order.as_slice())?,
            None => tensor.clone(),
        };
        if self.has_gaps { tensor.pad_with_zeros(D::Minus1, 0, 1) } else { Ok(tensor) }
    }

    /// The view of a base.
    pub(crate) fn unpack(&self, base: &Tensor) -> Result<Tensor> {
        let base = if self.has_gaps {
            base.narrow(D::Minus1, 0, base.dim(D::Minus1)? - 1)?
        } else {
            base.clone()
        };
        let Some(order) = &self.order else { return Ok(base) };
        let mut inverse = vec![0; order.len()];
        for (place, &dimension) in order.iter().enumerate() {
            inverse[dimension] = place;
        }
        base.permute(inverse)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot make a tensor has failed")]

    use candle_core::{Device, Tensor, Var};

    use super::Form;

    fn views() -> Vec<Tensor> {
        let base = Tensor::arange(0.0_f32, 60.0, &Device::Cpu).unwrap().reshape((3, 4, 5)).unwrap();
        vec![
            base.clone(),
            base.narrow(0, 1, 2).unwrap(),
            base.t().unwrap(),
            base.permute((2, 0, 1)).unwrap(),
            base.narrow(1, 1, 2).unwrap(),
            base.narrow(2, 1, 2).unwrap().t().unwrap(),
            base.narrow(2, 1, 1).unwrap(),
            base.narrow(1, 0, 1).unwrap().broadcast_as((3, 7, 5)).unwrap(),
            base.narrow(2, 0, 1).unwrap().broadcast_as((3, 4, 2)).unwrap(),
        ]
    }

    #[test]
    fn a_copy_has_the_values_and_is_contiguous_where_the_tensor_is() {
        for view in views() {
            let form = Form::of(&view);
            let base = Var::from_tensor(&form.pack(&view).unwrap()).unwrap();
            assert!(base.is_contiguous());
            let copy = form.unpack(&base).unwrap();
            assert_eq!(copy.dims(), view.dims());
            assert_eq!(copy.is_contiguous(), view.is_contiguous(), "{:?}", view.layout());
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(&copy), values(&view));
        }
    }
}
