#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use super::*;

fn link() -> HealthLink {
    HealthLink {
        url: format!("https://example.org/{}", "u".repeat(43)),
        key: LinkKey::generate().unwrap(),
        expires: Some(1_900_000_000),
        long_term: false,
        passcode: true,
        direct: false,
        label: Some("Blood tests".to_owned()),
    }
}

fn text(json: &str) -> String {
    format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(json))
}

#[test]
fn links_round_trip_behind_any_viewer() {
    let link = link();
    for viewer in [None, Some("https://viewer.example/view"), Some("https://viewer.example/#")] {
        let text = link.to_text(viewer).unwrap();
        assert!(text.contains(viewer.unwrap_or("shlink:/").trim_end_matches('#')));
        assert_eq!(HealthLink::parse(&text).unwrap(), link);
    }
    for viewer in ["http://viewer.example", "viewer", "https://a#b", "javascript:alert(1)"] {
        assert!(link.to_text(Some(viewer)).is_err(), "{viewer}");
    }
    let shown = format!("{link:?}");
    assert!(!shown.contains("example.org") && !shown.contains(link.key.to_text().as_str()));
}

#[test]
fn links_that_break_a_rule_are_refused() {
    let good = link();
    let broken: [(&str, HealthLink); 5] = [
        ("P and U", HealthLink { direct: true, ..good.clone() }),
        ("long label", HealthLink { label: Some("ä".repeat(81)), ..good.clone() }),
        (
            "long address",
            HealthLink { url: format!("https://e.org/{}", "u".repeat(128)), ..good.clone() },
        ),
        ("plain http", HealthLink { url: "http://example.org/x".into(), ..good.clone() }),
        (
            "a name in the address",
            HealthLink { url: "https://me:pw@example.org/x".into(), ..good.clone() },
        ),
    ];
    for (what, link) in broken {
        assert!(matches!(link.to_text(None), Err(LinkError::Link(_))), "{what}");
    }
    assert!(HealthLink { label: Some("ä".repeat(80)), ..good }.to_text(None).is_ok());
    let key = "rxTgYlOaKJPFtcEd0qcceN8wEU4p94SqAwIWQe6uX7Q";
    let ok = format!(r#"{{"url":"https://e.org/x","key":"{key}"}}"#);
    assert!(HealthLink::parse(&text(&ok)).is_ok());
    assert!(HealthLink::parse(&format!("  {}\n", text(&ok))).is_ok());
    for more in [
        r#","v":2"#,
        r#","v":"1""#,
        r#","flag":"PU""#,
        r#","flag":"X""#,
        r#","flag":"l""#,
        r#","exp":-1"#,
        r#","exp":"tomorrow""#,
        r#","url":"https://e.org/y""#,
    ] {
        let json = format!(r#"{{"url":"https://e.org/x","key":"{key}"{more}}}"#);
        assert!(HealthLink::parse(&text(&json)).is_err(), "{json}");
    }
    for wrong in [
        String::new(),
        "shlink:".to_owned(),
        ok.clone(),
        text("[]"),
        text(r#"{"url":"https://e.org/x"}"#),
        text(r#"{"url":"https://e.org/x","key":"short"}"#),
        text(&ok.replace("https", "file")),
        format!("{}=", text(&ok)),
        text(&ok).replace("shlink:/", "SHLINK:/"),
        format!("ftp://viewer#{}", text(&ok)),
        text(&format!(r#"{{"url":"https://e.org/{}","key":"{key}"}}"#, "x".repeat(MAX_LINK_LEN))),
    ] {
        assert!(HealthLink::parse(&wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn readers_ask_nobody_for_a_link_that_ended_or_lacks_its_passcode() {
    let reader = LinkReader::new("Dr. Who", std::time::Duration::from_secs(1)).unwrap();
    let mut link = link();
    link.url = "http://127.0.0.1:1/x".into();
    let now = 1_900_000_000;
    assert!(matches!(reader.open(&link, Some("1"), now).await, Err(LinkError::Expired(_))));
    assert!(matches!(reader.open(&link, None, now - 1).await, Err(LinkError::PasscodeNeeded)));
    let error = reader.open(&link, Some("1234"), now - 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let shown = format!("{error:?} {error}");
    assert!(!shown.contains("1234") && !shown.contains("127.0.0.1:1/x"), "{shown}");
    for recipient in ["", "  ", &"x".repeat(201)] {
        assert!(LinkReader::new(recipient, std::time::Duration::from_secs(1)).is_err());
    }
}
