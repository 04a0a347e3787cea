#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| alfred::fuzzing::filter(data));
