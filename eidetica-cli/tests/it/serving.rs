//! `serve`: its answers, its hold on the data, its end.

use crate::device::{Device, text};

#[test]
fn commands_typed_into_serve_are_answered_by_one_line_each() {
    let device = Device::empty();
    let mut serve = device.serve(&[]);
    assert!(serve.listening().starts_with("quic://"));
    let id = text(&serve.done("db create 'my notes'")["database"]);
    assert_eq!(
        serve.done(r#"put "my notes" app a.b '{"c": "d e"}'"#)["c"],
        "d e"
    );
    assert_eq!(serve.done(&format!("get {id} app /a/b/c")), "d e");
    assert_eq!(serve.done("list 'my notes'")[0]["store"], "app");
    assert_eq!(serve.done("members 'my notes'")[0]["level"], "admin:0");
    assert_eq!(serve.done("log 'my notes'").as_array().unwrap().len(), 2);
    assert_eq!(serve.done("peers").as_array().unwrap().len(), 0);
    assert_eq!(serve.done("doctor")["ok"], true);
    assert!(text(&serve.done("share 'my notes'")["ticket"]).starts_with("eidetica:"));
    for (command, code) in [
        ("nonsense", 2),
        ("get 'my notes", 2),
        ("get nothing app", 4),
        ("get 'my notes' app x", 4),
        ("serve", 2),
        ("demo", 2),
        ("--data elsewhere id", 2),
        ("import 'my notes' app -", 2),
        ("put 'my notes' app x nonsense", 2),
    ] {
        let answer = serve.ask(command);
        assert_eq!(answer["code"], code, "{command}: {answer}");
        assert!(!text(&answer["error"]).is_empty());
    }
    let again = serve.done("id");
    drop(serve);
    assert_eq!(device.done(&["id"]).line(), again);
}

#[test]
fn another_command_is_told_who_uses_the_data() {
    let device = Device::empty();
    let serve = device.serve(&[]);
    serve.listening();
    let outcome = device.run(&["id"]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(1), ""));
    let process = format!("in use by process {}", serve.id());
    assert!(outcome.stderr.contains(&process), "{outcome:?}");
}

#[cfg(unix)]
#[test]
fn the_end_of_input_ends_nothing_and_signals_end_it_in_order() {
    for signal in ["TERM", "INT"] {
        let device = Device::empty();
        let mut serve = device.serve(&["--http", "127.0.0.1:0"]);
        let url = serve.listening();
        let id = text(&serve.done("db create notes")["database"]);
        serve.done("grant notes anyone read");
        serve.close_input();
        let other = Device::empty();
        other.key();
        let shown = other.done(&["db", "list", "--peer", &url]);
        assert_eq!(shown.line()["database"], id.as_str());
        serve.signal(signal);
        assert_eq!(serve.finish().code, Some(0));
        assert_eq!(device.info("notes")["entries"], 2);
    }
}

#[test]
fn behind_a_proxy_one_address_may_have_more_connections() {
    const CONNECTIONS_OF_ADDRESS: usize = 256;
    for (more, code) in [
        (&[][..], 1),
        (&["--behind-proxy", "--connections", "500"], 0),
    ] {
        let device = Device::empty();
        let serve = device.serve(&[&["--http", "127.0.0.1:0"], more].concat());
        let url = serve.listening();
        let (_, at) = url.split_once('@').unwrap();
        let connect = |_| std::net::TcpStream::connect(at).unwrap();
        let held: Vec<_> = (0..CONNECTIONS_OF_ADDRESS).map(connect).collect();
        let other = Device::empty();
        other.key();
        let outcome = other.run(&["db", "list", "--peer", &url]);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        drop(held);
    }
    let outcome = Device::empty().run(&["serve", "--connections", "0"]);
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

#[test]
fn an_address_in_use_is_a_failure_that_names_it() {
    let device = Device::empty();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = device.run(&["serve", "--http", &address]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains(&address), "{outcome:?}");
    assert_eq!(device.run(&["serve", "--share", "nothing"]).code, Some(4));
}
