//! What was wrong with a peer's TLS, in one line for a person.
//!
//! A certificate that doesn't hold yet says more about the two clocks than about itself: the cluster's own begin
//! [`BEGINS_EARLY`] before they are made, so whoever finds one in the future is behind its maker by so much at least.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use crate::pki::BEGINS_EARLY;

/// Why a peer isn't believed. Nothing but a ClientHello was sent to it.
#[derive(Debug)]
pub(super) struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// What rustls says. `own`: the authority is a cluster's.
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and it may grow")]
    pub(super) fn new(error: &rustls::Error, own: bool) -> Self {
        Self(match error {
            rustls::Error::InvalidCertificate(error) => of_certificate(error, own),
            rustls::Error::InvalidMessage(_) => "what it speaks is no TLS: is it http://?".to_owned(),
            rustls::Error::AlertReceived(alert) => format!("it ended the TLS handshake with {alert:?}"),
            other => format!("TLS failed: {other}"),
        })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "not our enum, and it may grow")]
fn of_certificate(error: &CertificateError, own: bool) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature if own => {
            "its certificate is of another authority than the cluster's CA".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "its certificate is of an authority that this system doesn't know (--ca names one)".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented: Vec<String> = presented.iter().map(|name| plain_name(name)).collect();
            format!("its certificate is for {}, not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => too_early(*time, *not_before, own),
        CertificateError::ExpiredContext { time, not_after } => too_late(*time, *not_after),
        other => format!("its certificate is refused: {other}"),
    }
}

fn too_early(now: UnixTime, begin: UnixTime, own: bool) -> String {
    let early = if own { BEGINS_EARLY } else { Duration::ZERO };
    let gap = length((seconds(begin) + early).saturating_sub(seconds(now)));
    let (begin, now) = (date(begin), date(now));
    format!("clock differs by {gap}: its certificate holds from {begin}, and this machine's clock says {now}")
}

fn too_late(now: UnixTime, end: UnixTime) -> String {
    let gap = length(seconds(now).saturating_sub(seconds(end)));
    let (end, now) = (date(end), date(now));
    format!("its certificate expired: it held until {end}, and this machine's clock says {now}, {gap} later")
}

/// `DnsName("a.b")`, as webpki shows it, without what surrounds it.
fn plain_name(shown: &str) -> String {
    let inner = shown.split_once('(').map_or(shown, |(_, inner)| inner.trim_end_matches(')'));
    inner.trim_matches('"').to_owned()
}

fn seconds(time: UnixTime) -> Duration {
    Duration::from_secs(time.as_secs())
}

fn date(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds(time)).to_string()
}

/// `7m12s`.
fn length(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(error: CertificateError, own: bool) -> String {
        Fault::new(&rustls::Error::InvalidCertificate(error), own).to_string()
    }

    fn at(secs: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(secs))
    }

    #[test]
    fn a_clock_that_is_off_says_so() {
        // Made at 2000, and so valid from 1700; the clock here stands 432 s before 2000.
        let error = CertificateError::NotValidYetContext { time: at(1568), not_before: at(1700) };
        assert_eq!(
            say(error.clone(), true),
            "clock differs by 7m12s: its certificate holds from 1970-01-01T00:28:20Z, and this machine's \
             clock says 1970-01-01T00:26:08Z"
        );
        assert!(say(error, false).starts_with("clock differs by 2m12s: "));
        let error = CertificateError::ExpiredContext { time: at(90_000), not_after: at(3_600) };
        assert!(say(error, true).ends_with("1970-01-02T01:00:00Z, 1day later"));
    }

    #[test]
    fn names_and_authorities_are_told_apart() {
        let expected = "b.node.podling".try_into().unwrap();
        let presented = vec!["DnsName(\"a.node.podling\")".to_owned()];
        let error = CertificateError::NotValidForNameContext { expected, presented };
        assert_eq!(say(error, true), "its certificate is for a.node.podling, not for b.node.podling");
        assert!(say(CertificateError::UnknownIssuer, true).contains("the cluster's CA"));
        assert!(say(CertificateError::UnknownIssuer, false).contains("--ca"));
    }
}
