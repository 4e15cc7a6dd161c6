//! Every `sslmode` against servers with TLS and without.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use longshore_postgres::testing::{Authority, Certificate, Options, Server};
use longshore_postgres::{Config, ConnectError, Hop};
use tempfile::TempDir;

use crate::connecting::{ask, config};

/// Who signs what the servers here show.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

/// A server whose certificate is for `localhost` alone.
static ENCRYPTED: LazyLock<Server> =
    LazyLock::new(|| Server::start(Options::default().certificate(&AUTHORITY.server(&["localhost"]))));

/// A folder with the root certificate in it.
struct Roots {
    folder: TempDir,
}

impl Roots {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("root.crt"), AUTHORITY.pem()).expect("written");
        fs::write(folder.path().join("other.crt"), Authority::new().pem()).expect("written");
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The owner's URL of `postgres` at a host, with parameters.
fn url(server: &Server, host: &str, parameters: &str) -> String {
    format!("postgres://longshore:p%40ss%3Aw%2Frd@{host}:{}/postgres?{parameters}", server.port())
}

fn with_root(server: &Server, host: &str, mode: &str, root: &Path) -> String {
    url(server, host, &format!("sslmode={mode}&sslrootcert={}", root.display()))
}

/// Connects, and tells whether it is encrypted.
async fn encrypted(config: &Config) -> Result<bool, ConnectError> {
    let connection = config.connect().await?;
    let answer = ask(&connection, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await;
    Ok(answer == "true")
}

/// The hop, the text and the cure.
async fn refusal(url: &str) -> (Hop, String, String) {
    let error = config(url).connect().await.err().unwrap_or_else(|| panic!("{url} connects"));
    assert!(!error.is_transient(), "{error:?}");
    (error.hop(), error.to_string(), error.hint().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn modes_that_need_no_proof_encrypt_as_they_say() {
    for (mode, at_tls, at_plain) in [
        ("disable", Some(false), Some(false)),
        ("allow", Some(false), Some(false)),
        ("prefer", Some(true), Some(false)),
        ("require", Some(true), None),
    ] {
        let parameters = format!("sslmode={mode}");
        let found = encrypted(&config(&url(&ENCRYPTED, "127.0.0.1", &parameters))).await.ok();
        assert_eq!(found, at_tls, "{mode} with TLS");
        let found = encrypted(&config(&url(Server::shared(), "127.0.0.1", &parameters))).await.ok();
        assert_eq!(found, at_plain, "{mode} without TLS");
    }
}

#[tokio::test]
async fn a_local_server_may_go_without_proof() {
    assert!(encrypted(&config(&url(&ENCRYPTED, "localhost", ""))).await.expect("connected"));
    assert!(!encrypted(&config(&url(Server::shared(), "localhost", ""))).await.expect("connected"));
}

#[tokio::test]
async fn verify_ca_asks_for_the_signature_and_verify_full_for_the_name_too() {
    let roots = Roots::new();
    let root = roots.file("root.crt");
    for (host, mode, connects) in [
        ("localhost", "verify-full", true),
        ("localhost", "verify-ca", true),
        ("127.0.0.1", "verify-ca", true),
        ("127.0.0.1", "verify-full", false),
        ("127.0.0.1", "require", true),
    ] {
        let found = encrypted(&config(&with_root(&ENCRYPTED, host, mode, &root))).await;
        assert_eq!(found.ok(), connects.then_some(true), "{host} {mode}");
    }
    let port = ENCRYPTED.port();
    let said = refusal(&with_root(&ENCRYPTED, "127.0.0.1", "verify-full", &root)).await;
    assert_eq!(said.0, Hop::Tls);
    assert_eq!(said.1, format!("the certificate of `127.0.0.1:{port}` is not for `127.0.0.1` but for `localhost`"));
    assert_eq!(said.2, "connect by a name that it is for, or do without the check: `sslmode=verify-ca`");
}

#[tokio::test]
async fn a_certificate_that_somebody_else_signed_is_refused() {
    let roots = Roots::new();
    let other = roots.file("other.crt");
    // With a root certificate `require` checks too.
    for mode in ["require", "verify-ca", "verify-full"] {
        let (hop, text, cure) = refusal(&with_root(&ENCRYPTED, "localhost", mode, &other)).await;
        assert_eq!(hop, Hop::Tls, "{mode}");
        assert_eq!(
            text,
            format!("the certificate of `localhost:{}` is signed by nobody whom we trust", ENCRYPTED.port())
        );
        assert!(cure.contains("sslrootcert=FILE"), "{cure}");
    }
    // The system's roots do not know it either.
    for parameters in ["sslmode=verify-full", "sslmode=verify-ca", "sslrootcert=system"] {
        let (hop, _, cure) = refusal(&url(&ENCRYPTED, "localhost", parameters)).await;
        assert_eq!(hop, Hop::Tls, "{parameters}");
        assert!(cure.contains("sslrootcert=FILE"), "{cure}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_cannot_prove_itself() {
    let (hop, text, cure) = refusal(&url(Server::shared(), "localhost", "sslmode=verify-full")).await;
    let port = Server::shared().port();
    assert_eq!(hop, Hop::Tls);
    assert_eq!(
        text,
        format!("the server at `localhost:{port}` does not speak TLS, which `sslmode=verify-full` asks for")
    );
    assert_eq!(cure, "turn on `ssl` at the server; who trusts the network between may write `sslmode=disable`");
}

#[tokio::test]
async fn an_expired_certificate_is_called_expired() {
    let roots = Roots::new();
    let server = Server::start(Options::default().certificate(&AUTHORITY.expired_server(&["localhost"])));
    let (hop, text, _) = refusal(&with_root(&server, "localhost", "verify-ca", &roots.file("root.crt"))).await;
    assert_eq!(hop, Hop::Tls);
    assert_eq!(text, format!("the certificate of `localhost:{}` has expired", server.port()));
    assert!(encrypted(&config(&url(&server, "localhost", "sslmode=require"))).await.expect("not checked"));
}

#[tokio::test]
async fn a_certificate_signed_by_itself_is_as_good_as_any_once_it_is_given() {
    let roots = Roots::new();
    let certificate = Certificate::self_signed(&["localhost"]);
    fs::write(roots.file("itself.crt"), certificate.pem()).expect("written");
    let server = Server::start(Options::default().certificate(&certificate));
    for (host, mode, connects) in
        [("localhost", "verify-full", true), ("127.0.0.1", "verify-ca", true), ("127.0.0.1", "verify-full", false)]
    {
        let found = encrypted(&config(&with_root(&server, host, mode, &roots.file("itself.crt")))).await;
        assert_eq!(found.ok(), connects.then_some(true), "{host} {mode}");
    }
    let (_, text, cure) = refusal(&with_root(&server, "localhost", "verify-full", &roots.file("root.crt"))).await;
    assert_eq!(text, format!("the certificate of `localhost:{}` is signed by nobody whom we trust", server.port()));
    assert!(cure.contains("sslrootcert=FILE"), "{cure}");
}

#[tokio::test]
async fn the_users_root_certificate_is_found_and_makes_require_check() {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join(".postgresql")).expect("a folder");
    let root = home.path().join(".postgresql/root.crt");
    let connect = |parameters: &str| {
        let home = home.path().display().to_string();
        let url = url(&ENCRYPTED, "localhost", parameters);
        Config::with_environment(&url, &|name| (name == "HOME").then(|| home.clone())).expect("the URL is good")
    };
    fs::write(&root, AUTHORITY.pem()).expect("written");
    assert!(encrypted(&connect("sslmode=verify-full")).await.expect("the root is found"));
    assert!(encrypted(&connect("sslmode=require")).await.expect("the root is found"));
    fs::write(&root, Authority::new().pem()).expect("written");
    encrypted(&connect("sslmode=require")).await.expect_err("it is checked");
    assert!(encrypted(&connect("sslmode=prefer")).await.expect("it is not checked"));
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let roots = Roots::new();
    let options = Options::default()
        .certificate(&AUTHORITY.server(&["localhost"]))
        .clients_of(&AUTHORITY)
        .rule("hostssl all longshore all cert");
    let server = Server::start(options);
    let (certificate, key) = AUTHORITY.client("longshore").write(roots.folder.path());
    let with = |key: &Path| {
        let parameters = format!("sslmode=require&sslcert={}&sslkey={}", certificate.display(), key.display());
        format!("postgres://longshore@localhost:{}/postgres?{parameters}", server.port())
    };
    assert!(encrypted(&config(&with(&key))).await.expect("logged in"));

    let (hop, _, _) =
        refusal(&format!("postgres://longshore@localhost:{}/postgres?sslmode=require", server.port())).await;
    assert_eq!(hop, Hop::Login);
    let (hop, text, _) = refusal(&with(&roots.file("missing.key"))).await;
    assert_eq!(
        (hop, text),
        (Hop::Tls, format!("the key file `{}` cannot be read", roots.file("missing.key").display()))
    );
    let open = roots.file("open.key");
    fs::copy(&key, &open).expect("copied");
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("set");
    let (_, text, cure) = refusal(&with(&open)).await;
    assert_eq!(text, format!("the key file `{}` can be read by others", open.display()));
    assert_eq!(cure, "take their rights away with `chmod 600`");
}

#[tokio::test]
async fn files_that_are_not_there_or_hold_nothing_are_named() {
    let roots = Roots::new();
    fs::write(roots.file("empty.crt"), "").expect("written");
    for (name, what) in [("empty.crt", "holds no certificate"), ("missing.crt", "cannot be read")] {
        let path = roots.file(name);
        let (hop, text, cure) = refusal(&with_root(&ENCRYPTED, "localhost", "verify-full", &path)).await;
        assert_eq!(hop, Hop::Tls);
        assert_eq!(text, format!("the certificate file `{}` {what}", path.display()));
        assert_eq!(cure, "give a PEM file that this user may read as `sslrootcert=FILE`");
    }
}

#[tokio::test]
async fn the_other_way_is_tried_when_the_server_wants_it() {
    let authority = Authority::new();
    let only_encrypted =
        Options::default().certificate(&authority.server(&["localhost"])).rule("hostnossl all all all reject");
    let server = Server::start(only_encrypted);
    assert!(encrypted(&config(&url(&server, "localhost", "sslmode=allow"))).await.expect("by TLS"));
    let (hop, text, cure) = refusal(&url(&server, "localhost", "sslmode=disable")).await;
    assert_eq!(hop, Hop::Login);
    assert_eq!(text, format!("`localhost:{}` does not let `longshore` into `postgres` from here", server.port()));
    assert!(cure.contains("sslmode=require"), "{cure}");

    let only_plain =
        Options::default().certificate(&authority.server(&["localhost"])).rule("hostssl all all all reject");
    let server = Server::start(only_plain);
    assert!(!encrypted(&config(&url(&server, "localhost", "sslmode=prefer"))).await.expect("without TLS"));
}

#[tokio::test]
async fn the_login_is_bound_to_the_channel() {
    assert!(encrypted(&config(&url(&ENCRYPTED, "localhost", "channel_binding=require"))).await.expect("bound"));
    let (hop, _, cure) = refusal(&url(&ENCRYPTED, "localhost", "channel_binding=require&sslmode=disable")).await;
    assert_eq!(hop, Hop::Login);
    assert_eq!(cure, "`channel_binding=require` needs TLS and a password by `scram-sha-256`");
}

#[tokio::test]
async fn a_statement_is_cancelled_over_tls() {
    let connection = config(&url(&ENCRYPTED, "localhost", "sslmode=require")).connect().await.expect("connected");
    let slept = connection.batch_execute("SELECT pg_sleep(600)");
    tokio::pin!(slept);
    tokio::select! {
        biased;
        _ = &mut slept => panic!("it sleeps"),
        () = crate::connecting::sleeps(&ENCRYPTED) => {}
    }
    connection.cancel().await.expect("the word is passed on");
    let error = slept.await.expect_err("it is cancelled");
    assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::QUERY_CANCELED));
    assert_eq!(ask(&connection, "SELECT 'still here'").await, "still here");
}
