//! A real browser without a window, and a page in it. What it complains of and asks for is kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headless_chrome::protocol::cdp::types::Event;
use headless_chrome::protocol::cdp::{Emulation, Network};
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde_json::{Value, json};

const PROGRAMS: [&str; 5] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome",
];

/// A page that is open.
pub(super) struct Page {
    tab: Arc<Tab>,
    /// Errors and warnings of the page.
    complaints: Arc<Mutex<Vec<String>>>,
    /// The addresses that were asked for.
    requests: Arc<Mutex<Vec<String>>>,
    url: String,
    _browser: Browser,
}

impl Page {
    /// Opens the file.
    pub(super) fn open(path: &Path) -> Self {
        Self::open_with(path, true)
    }

    /// Opens it where no script may run.
    pub(super) fn open_without_scripts(path: &Path) -> Self {
        Self::open_with(path, false)
    }

    fn open_with(path: &Path, scripts: bool) -> Self {
        let options = LaunchOptions {
            path: Some(program()),
            // Root has no sandbox; there is nothing but our own page.
            sandbox: !rustix::process::geteuid().is_root(),
            window_size: Some((1_280, 900)),
            idle_browser_timeout: Duration::from_secs(60),
            ..LaunchOptions::default()
        };
        let browser = Browser::new(options).expect("the browser starts");
        let tab = browser.new_tab().expect("a tab");
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (complain, request) = (complaints.clone(), requests.clone());
        let listen = move |event: &Event| match event {
            Event::LogEntryAdded(entry) => add(&complain, entry.params.entry.text.clone()),
            Event::RuntimeExceptionThrown(thrown) => add(&complain, format!("{thrown:?}")),
            Event::RuntimeConsoleAPICalled(called) => add(&complain, format!("{called:?}")),
            Event::PageJavascriptDialogOpening(dialog) => add(&complain, format!("{dialog:?}")),
            Event::NetworkRequestWillBeSent(sent) => add(&request, sent.params.request.url.clone()),
            _ => {}
        };
        tab.add_event_listener(Arc::new(listen))
            .expect("a listener");
        tab.enable_log().expect("its log");
        tab.enable_runtime().expect("its errors");
        let network = Network::Enable {
            max_total_buffer_size: None,
            max_resource_buffer_size: None,
            max_post_data_size: None,
            report_direct_socket_traffic: None,
            enable_durable_messages: None,
        };
        tab.call_method(network).expect("its requests");
        let off = Emulation::SetScriptExecutionDisabled { value: !scripts };
        tab.call_method(off).expect("scripts, or none");
        let url = format!("file://{}", path.display());
        tab.navigate_to(&url)
            .and_then(|tab| tab.wait_until_navigated())
            .expect("the page opens");
        Self {
            tab,
            complaints,
            requests,
            url,
            _browser: browser,
        }
    }

    /// What an expression comes to.
    #[track_caller]
    pub(super) fn value(&self, expression: &str) -> Value {
        let code = format!("JSON.stringify({expression} ?? null)");
        let text = match self.tab.evaluate(&code, false) {
            Ok(object) => object.value.unwrap_or(Value::Null),
            Err(error) => panic!("{expression}: {error}"),
        };
        serde_json::from_str(text.as_str().expect("JSON")).expect("JSON")
    }

    /// Runs statements.
    #[track_caller]
    pub(super) fn run(&self, statements: &str) {
        let ran = self.tab.evaluate(statements, false);
        assert!(ran.is_ok(), "{statements}: {ran:?}");
    }

    /// Clicks with the mouse.
    #[track_caller]
    pub(super) fn click(&self, selector: &str) {
        let element = self.tab.find_element(selector);
        element
            .and_then(|element| element.click().map(drop))
            .expect(selector);
    }

    #[track_caller]
    pub(super) fn focus(&self, selector: &str) {
        let element = self.tab.find_element(selector);
        element
            .and_then(|element| element.focus().map(drop))
            .expect(selector);
    }

    /// Presses a key where the focus is.
    #[track_caller]
    pub(super) fn press(&self, key: &str) {
        self.tab.press_key(key).expect(key);
    }

    #[track_caller]
    pub(super) fn type_text(&self, text: &str) {
        self.tab.type_str(text).expect(text);
    }

    /// On a screen of this width the page itself need not be moved sideways.
    #[track_caller]
    pub(super) fn is_as_wide_as(&self, width: u32) {
        let screen = Emulation::SetDeviceMetricsOverride {
            width,
            height: 844,
            device_scale_factor: 1.0,
            mobile: true,
            scale: None,
            screen_width: None,
            screen_height: None,
            position_x: None,
            position_y: None,
            dont_set_visible_size: None,
            screen_orientation: None,
            viewport: None,
            display_feature: None,
            device_posture: None,
        };
        self.tab.call_method(screen).expect("another screen");
        assert_eq!(
            self.value("document.documentElement.scrollWidth"),
            json!(width)
        );
    }

    #[track_caller]
    pub(super) fn asked_for_nothing_and_has_no_errors(&self) {
        assert_eq!(*self.complaints.lock().expect("the list"), [""; 0]);
        assert_eq!(*self.requests.lock().expect("the list"), [&*self.url]);
    }

    /// The browser refused something, with these words.
    #[track_caller]
    pub(super) fn was_refused(&self, words: &str) {
        let complaints = self.complaints.lock().expect("the list");
        assert!(
            complaints.iter().any(|one| one.contains(words)),
            "{complaints:?}"
        );
    }
}

fn add(list: &Mutex<Vec<String>>, text: String) {
    list.lock().expect("the list").push(text);
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let candidates = PROGRAMS
        .iter()
        .flat_map(|program| folders.iter().map(move |folder| folder.join(program)));
    candidates.into_iter().find(|candidate| candidate.is_file()).unwrap_or_else(|| {
        panic!(
            "these tests look at the page in a real browser, and there is none of {PROGRAMS:?} here: \
             `apt-get install chromium-headless-shell` (or chromium) brings one, or start the tests with \
             tests/run"
        )
    })
}
