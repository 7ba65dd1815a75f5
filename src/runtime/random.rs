//! Randomness for secrets, from the operating system alone.
//!
//! Ids are drawn elsewhere: they are no secrets. Nothing is buffered here, and nothing is kept.

use std::io;

/// 256 random bits. Blocks only until the machine has gathered enough of them after its start.
///
/// # Errors
/// The operating system gives none.
pub fn secret() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_ne!(one, other);
        assert!(one.iter().any(|byte| *byte != 0) && one[16..].iter().any(|byte| *byte != 0));
    }
}
