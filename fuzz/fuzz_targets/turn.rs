#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| rtc_cafe_fuzz_bodies::turn(data));
