//! AIOS for programs in Rust: the constants of the system call ABI.
#![no_std]

pub mod abi;
