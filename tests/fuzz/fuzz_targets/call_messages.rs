#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| msg_tests::fuzz::call_messages(data));
