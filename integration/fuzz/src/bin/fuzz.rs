//! One target under libFuzzer: that of the environment variable
//! `SEXTANT_FUZZ_TARGET`. Built and run by scripts/fuzz.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| sextant_fuzz::targets::chosen()(input));
