//! [`Chromium`]: a headless browser, driven over a pipe with the `DevTools` protocol.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use serde_json::{Value, json};

/// Longer than anything takes; a browser that hangs fails the test rather than hang it.
const PATIENCE: Duration = Duration::from_secs(100);

/// Messages go in on descriptor 3 and come out on 4, which the shell makes of its own two.
const PIPED: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

/// What keeps it to itself, and lets it run as root and in a container.
const OPTIONS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// Where the browser is, or why it cannot be used.
pub(crate) fn installed() -> Result<PathBuf, String> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let all = env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    all.ok_or_else(|| "no Chromium; install it with 'apt-get install chromium'".to_owned())
}

/// A browser of its own for one test, with one page, without network.
pub(crate) struct Chromium {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    profile: PathBuf,
    session: Option<String>,
    last: u64,
    /// What the browser told unasked.
    pub(crate) heard: Vec<Value>,
}

impl Chromium {
    pub(crate) fn start(profile: &Path) -> Self {
        let data = [OsStr::new("--user-data-dir="), profile.as_os_str()].join(OsStr::new(""));
        let mut child = Command::new("sh")
            .args(["-c", PIPED])
            .arg(installed().unwrap())
            .args(OPTIONS)
            .arg(data)
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let Ok(told) = serde_json::from_slice(&message) else { break };
                if sender.send(told).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let profile = profile.to_owned();
        let mut browser =
            Self { child, input, messages, profile, session: None, last: 0, heard: Vec::new() };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", &target);
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            self.call(domain, &json!({}));
        }
        let offline = json!({
            "offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.call("Network.emulateNetworkConditions", &offline);
        self.resize(1280, 720);
    }

    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Calls a method of the protocol and waits for its answer.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        write!(self.input, "{message}\0").unwrap();
        loop {
            let mut told = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
            if told["id"] == self.last {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].take();
            }
            self.heard.push(told);
        }
    }

    /// The value of an expression in the page; a promise is waited for.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The number that an expression in the page gives.
    #[track_caller]
    pub(crate) fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} gives {value}"))
    }

    /// The text that an expression in the page gives.
    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} gives {value}")).to_owned()
    }

    /// Opens a file, and waits until it is loaded and painted.
    pub(crate) fn open(&mut self, file: &Path) {
        let address = format!("file://{}", file.display());
        self.call("Page.navigate", &json!({ "url": address }));
        let address = serde_json::to_string(&address).unwrap();
        self.value(&format!(
            "new Promise((done) => {{ const look = () => location.href === {address} \
             && window.freeboard?.ready ? done() : setTimeout(look, 20); look(); }})"
        ));
        self.settle();
    }

    /// Waits until what was asked for is drawn.
    pub(crate) fn settle(&mut self) {
        self.value(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))",
        );
    }

    /// Moves, presses or releases the mouse.
    pub(crate) fn mouse(&mut self, kind: &str, (x, y): (f64, f64), more: &Value) {
        let mut event = json!({ "type": kind, "x": x, "y": y, "button": "none", "clickCount": 0 });
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        self.call("Input.dispatchMouseEvent", &event);
    }

    /// Presses the mouse at the first place and releases it at the last.
    pub(crate) fn drag(&mut self, places: &[(f64, f64)]) {
        let left = json!({ "button": "left", "buttons": 1, "clickCount": 1 });
        self.mouse("mousePressed", places[0], &left);
        for &place in &places[1..] {
            self.mouse("mouseMoved", place, &left);
        }
        self.mouse("mouseReleased", places[places.len() - 1], &left);
        self.settle();
    }

    /// Turns the wheel.
    pub(crate) fn wheel(&mut self, place: (f64, f64), turned: f64) {
        self.mouse("mouseWheel", place, &json!({ "deltaX": 0, "deltaY": turned }));
        self.settle();
    }

    /// Presses a key.
    pub(crate) fn key(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            self.call("Input.dispatchKeyEvent", &json!({ "type": kind, "key": key, "text": text }));
        }
        self.settle();
    }

    /// A place within an element: parts of its width and height.
    pub(crate) fn place_in(&mut self, id: &str, across: f64, down: f64) -> (f64, f64) {
        let place = self.value(&format!(
            "(() => {{ const box = byId('{id}').getBoundingClientRect(); \
             return [box.left + box.width * {across}, box.top + box.height * {down}]; }})()"
        ));
        (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
    }

    /// Complaints of the page, and everything it asked to load other than a file.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let is_complaint = |told: &Value| match told["method"].as_str().unwrap_or("") {
            "Runtime.exceptionThrown" | "Log.entryAdded" | "Runtime.consoleAPICalled" => true,
            "Network.requestWillBeSent" => {
                let address = told["params"]["request"]["url"].as_str().unwrap_or("");
                !address.starts_with("file:///") && !address.starts_with("data:")
            }
            _ => false,
        };
        self.heard.iter().filter(|told| is_complaint(told)).collect()
    }

    /// How many files it loaded.
    pub(crate) fn files(&self) -> usize {
        let requests =
            self.heard.iter().filter(|told| told["method"] == "Network.requestWillBeSent");
        let addresses = requests.filter_map(|told| told["params"]["request"]["url"].as_str());
        addresses.filter(|address| address.starts_with("file:///")).count()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        // Its helpers end a little later, and write until then.
        for _ in 0..50 {
            if fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}
