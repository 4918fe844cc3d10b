//! The console's process, and a browser without scripts.

use serde_json::Value;
use testkit::process::Process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{World, programs};

/// It has opened the printed address, or has a token.
pub(crate) struct Browser {
    /// The console, if it is a process of its own.
    pub(crate) process: Option<Process>,
    pub(crate) address: String,
    /// What each request has besides.
    pub(crate) as_whom: String,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Browser {
    /// With the printed address.
    pub(crate) async fn open(world: &World) -> Self {
        Self::open_with(world, &world.url, &[]).await
    }

    /// With the printed address of a console with this database and environment.
    pub(crate) async fn open_with(world: &World, database: &str, env: &[(&str, &str)]) -> Self {
        let (browser, path) = Self::start(world, database, &[], env).await;
        browser.opened(&path).await
    }

    /// Reads on until `outbox dev` prints the address of its console, and opens it.
    pub(crate) async fn of_dev(dev: &mut Process) -> Self {
        let (browser, path) = Self::at(&dev.wait_for("console").await.unwrap());
        browser.opened(&path).await
    }

    /// The path of the printed address works once, and then a cookie does.
    async fn opened(mut self, path: &str) -> Self {
        let first = self.get(path, "text/html").await;
        assert_eq!(first.status, 303, "{}", first.body);
        let (_, cookie) = first.head.split_once("set-cookie: ").expect("there is a cookie");
        self.as_whom = format!("Cookie: {}", cookie.split(';').next().unwrap());
        self
    }

    fn at(said: &str) -> (Self, String) {
        let (_, url) = said.split_once("http://").unwrap();
        let url = url.split_whitespace().next().unwrap();
        let (address, path) = url.split_once('/').unwrap();
        let browser = Self { process: None, address: address.to_owned(), as_whom: "X-Nobody: 1".to_owned() };
        (browser, format!("/{path}"))
    }

    /// A console with these arguments, and the path that it printed. Without an address it has no database.
    pub(crate) async fn start(
        world: &World,
        database: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> (Self, String) {
        let router = world.router_file.display().to_string();
        let own = [("DATABASE_URL", database), ("OUTBOX_ROUTER", &router), ("USER", "operator-a")];
        let own = if database.is_empty() { &own[1..] } else { &own[..] };
        let env = [own, env].concat();
        let args = [&["console", "--addr", "127.0.0.1:0"], args].concat();
        let mut process = Process::start(&programs().join("outbox"), args, &env).unwrap();
        let said = process.wait_for("the console is at http://").await.unwrap();
        let (browser, path) = Self::at(&said);
        (Self { process: Some(process), ..browser }, path)
    }

    pub(crate) fn with_token(&mut self, token: &str) {
        self.as_whom = format!("Authorization: Bearer {token}");
    }

    pub(crate) async fn get(&self, path: &str, accept: &str) -> Page {
        self.send(&format!("GET {path} HTTP/1.1\r\nAccept: {accept}\r\n"), "").await
    }

    pub(crate) async fn shown(&self, path: &str) -> String {
        let page = self.get(path, "text/html").await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        page.body
    }

    /// The pages, each of which has a text.
    pub(crate) async fn shows(&self, pages: &[(&str, &str)]) -> Vec<String> {
        let mut all = Vec::new();
        for (path, text) in pages {
            let shown = self.shown(path).await;
            assert!(shown.contains(text), "{path}: {shown}");
            all.push(shown);
        }
        all
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let page = self.get(path, "application/json").await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        serde_json::from_str(&page.body).unwrap()
    }

    /// Sends the form of a page, with its token and the moment of its count.
    pub(crate) async fn post(&self, page: &str, path: &str, fields: &str) -> Page {
        let shown = self.shown(page).await;
        assert!(shown.contains("name=\"form_token\""), "there is no form: {shown}");
        let hidden = |name: &str| {
            let (_, rest) = shown.split_once(&format!("name=\"{name}\" value=\""))?;
            Some(format!("{name}={}&", rest.split('"').next()?))
        };
        let hidden: String = ["form_token", "dead_by"].into_iter().filter_map(hidden).collect();
        self.post_with(path, &format!("{hidden}{fields}")).await
    }

    pub(crate) async fn post_with(&self, path: &str, body: &str) -> Page {
        let head = format!(
            "POST {path} HTTP/1.1\r\nOrigin: http://{}\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.address
        );
        self.send(&head, body).await
    }

    pub(crate) async fn send(&self, head: &str, body: &str) -> Page {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!(
            "{head}Host: {}\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.as_whom,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Page { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// The first event of a stream.
    pub(crate) async fn live(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET /live HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", self.address, self.as_whom);
        stream.write_all(request.as_bytes()).await.unwrap();
        let (mut told, mut part) = (String::new(), [0; 16 * 1024]);
        while !told.contains("data: ") || !told.ends_with("\n\n\r\n") {
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&part[..read]));
        }
        told
    }
}
