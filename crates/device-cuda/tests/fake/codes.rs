//! The table of codes.

use freeboard_device_cuda::CODES;

use crate::common::driver;

#[test]
fn the_codes_are_in_order_and_named() {
    assert!(CODES.windows(2).all(|pair| pair[0].code < pair[1].code));
    for known in CODES {
        assert!(known.name.starts_with("CUDA_ERROR_") && !known.text.is_empty(), "{known:?}");
    }
}

#[test]
fn every_number_has_words() {
    let (fake, driver) = driver();
    for code in CODES.iter().map(|known| known.code).chain([4242, u32::MAX]) {
        let reason = driver.reason(code);
        assert_eq!(reason.code, code);
        assert!(reason.to_string().ends_with(&format!("(code {code})")), "{reason}");
    }
    assert_eq!(driver.reason(2).text, "out of memory");
    assert_eq!(driver.reason(4242).name, "an unknown code");
    // A driver that cannot even say what went wrong.
    fake.fail("cuGetErrorName", 1, 4, 1);
    fake.fail("cuGetErrorString", 1, 4, 1);
    assert_eq!(driver.reason(700).name, "CUDA_ERROR_ILLEGAL_ADDRESS");
}
