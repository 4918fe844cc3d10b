//! A browser without scripts that has opened the address which `outbox dev` printed.

use serde_json::Value;
use testkit::process::Process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) struct Pages {
    address: String,
    cookie: String,
}

impl Pages {
    /// Reads on until the command prints the address, and opens it.
    pub(super) async fn of(dev: &mut Process) -> Self {
        let line = dev.wait_for("console").await.unwrap();
        let url = line.split_once("http://").unwrap().1.split_whitespace().next().unwrap();
        let (address, path) = url.split_once('/').unwrap();
        let mut pages = Self { address: address.to_owned(), cookie: String::new() };
        let (status, head, _) = pages.send(&format!("GET /{path} HTTP/1.1\r\n"), "").await;
        assert_eq!(status, 303, "{head}");
        let (_, cookie) = head.split_once("set-cookie: ").expect("there is a cookie");
        cookie.split(';').next().unwrap().clone_into(&mut pages.cookie);
        pages
    }

    pub(super) async fn shown(&self, path: &str) -> String {
        let (status, _, body) = self.send(&format!("GET {path} HTTP/1.1\r\nAccept: text/html\r\n"), "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(super) async fn json(&self, path: &str) -> Value {
        let head = format!("GET {path} HTTP/1.1\r\nAccept: application/json\r\n");
        let (status, _, body) = self.send(&head, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Sends the form of a page to a path, with the fields that the page hides in it.
    pub(super) async fn sends(&self, page: &str, path: &str, fields: &str) -> u16 {
        let shown = self.shown(page).await;
        let hidden = |name: &str| {
            let (_, rest) = shown.split_once(&format!("name=\"{name}\" value=\""))?;
            Some(format!("{name}={}&", rest.split('"').next()?))
        };
        let hidden: String = ["form_token", "dead_by"].into_iter().filter_map(hidden).collect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nOrigin: http://{}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.address
        );
        self.send(&head, &format!("{hidden}{fields}")).await.0
    }

    async fn send(&self, head: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{head}Host: {}\r\nCookie: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.cookie,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }
}
