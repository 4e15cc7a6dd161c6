//! From a connection to a session: what the client may ask for, and who it is.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use super::{Ended, Session, extended};
use crate::cancel::Cancel;
use crate::frame::{Frame, Reader, Writer, put_text, split, take_text};
use crate::gate::{self, Mode};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::upstream::Upstream;

const PROTOCOL: u32 = 196_608;
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;
const GSS: u32 = 80_877_104;

/// Parameters of a startup message that Redshift takes.
const PARAMETERS: &[&str] = &[
    "user",
    "database",
    "client_encoding",
    "application_name",
    "datestyle",
    "timezone",
    "extra_float_digits",
    "options",
    "client_protocol_version",
    "driver_version",
    "os_version",
];

/// `None` for a cancel request, and for a client that was turned away.
pub(super) async fn start(stream: TcpStream, shared: Arc<Shared>) -> Result<Option<Session>, Ended> {
    let (mut reader, mut writer) = split(stream);
    let parameters = loop {
        let mut message = reader.startup().await?;
        match message.get_u32() {
            TLS | GSS => writer.raw(b"N").await?,
            CANCEL => {
                cancel(&shared, message).await?;
                return Ok(None);
            }
            PROTOCOL => break parameters(message),
            _ => return turn_away(&mut writer, &Refusal::new("08P01", "unsupported frontend protocol")).await,
        }
    };
    let get = |name: &str| parameters.get(name).cloned().unwrap_or_default();
    let user = get("user");
    if !log_in(&mut reader, &mut writer, &shared, &user).await? {
        let refusal = Refusal::new("28000", format!("password authentication failed for user \"{user}\""));
        return turn_away(&mut writer, &refusal).await;
    }
    let database = if parameters.contains_key("database") { get("database") } else { user.clone() };
    if database != shared.behind.database {
        return turn_away(&mut writer, &Refusal::new("3D000", format!("database \"{database}\" does not exist"))).await;
    }
    let settings = match examine(&parameters) {
        Ok(settings) => settings,
        Err(refusal) => return turn_away(&mut writer, &refusal).await,
    };
    let behind: Vec<(&str, &str)> = ["application_name", "timezone", "datestyle", "extra_float_digits"]
        .into_iter()
        .map(|name| {
            let known = gate::SETTINGS.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
            (name, settings.get(name).map_or(known, String::as_str))
        })
        .collect();
    let upstream = match Upstream::connect(&shared.behind, &user, &behind).await? {
        Ok(upstream) => upstream,
        Err(refusal) => return turn_away(&mut writer, &refusal).await,
    };
    let reported = |name: &str| {
        let found = upstream.reported.iter().find(|(known, _)| known == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let cancel = Arc::new(Cancel::default());
    shared.cancels.lock().unwrap_or_else(PoisonError::into_inner).insert(upstream.key.clone(), cancel.clone());
    writer.put(&Frame::new(b'R', vec![0; 4])).await?;
    for (name, value) in [
        ("server_version", "8.0.2"),
        ("server_encoding", "UNICODE"),
        ("client_encoding", "UTF8"),
        ("DateStyle", &reported("DateStyle")),
        ("TimeZone", &reported("TimeZone")),
        ("integer_datetimes", "on"),
        ("session_authorization", &user),
    ] {
        let mut body = BytesMut::new();
        put_text(&mut body, name);
        put_text(&mut body, value);
        writer.put(&Frame::new(b'S', body)).await?;
    }
    writer.put(&Frame::new(b'K', upstream.key.clone())).await?;
    let id = shared.number();
    let mut session = Session {
        id,
        user,
        reader,
        writer,
        upstream,
        temporary: HashSet::new(),
        temporary_before: HashSet::new(),
        search_path: super::run::default_path(),
        set_before: (settings.clone(), super::run::default_path(), None),
        settings,
        statement_timeout: None,
        transaction: 0,
        is_shown: false,
        sent: String::new(),
        last_copy_id: -1,
        last_copy_count: 0,
        last_copy_before: (-1, 0),
        copy_is_open: false,
        last_copy_told: None,
        cancel,
        extended: extended::Extended::default(),
        shared,
    };
    session.ready().await?;
    Ok(Some(session))
}

fn parameters(mut message: Bytes) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    while message.remaining() > 1 {
        let name = take_text(&mut message).to_lowercase();
        if name.is_empty() {
            break;
        }
        parameters.insert(name, take_text(&mut message));
    }
    parameters
}

/// Redshift knows few parameters, and refuses the others. Returns those that are settings of the session.
fn examine(parameters: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let mut settings = BTreeMap::new();
    for (name, value) in parameters {
        match name.as_str() {
            _ if !PARAMETERS.contains(&name.as_str()) => {
                return Err(Refusal::new("42704", format!("unrecognized configuration parameter \"{name}\"")));
            }
            "client_protocol_version" if value != "0" => {
                return Err(Refusal::not_modelled("a protocol with extended metadata or binary values"));
            }
            "options" => options(value, &mut settings)?,
            "client_encoding" => gate::value_of(name, &value.trim_matches('\'').to_lowercase())?,
            "application_name" | "timezone" | "datestyle" | "extra_float_digits" => {
                gate::value_of(name, value)?;
                settings.insert(name.clone(), value.clone());
            }
            _ => {}
        }
    }
    Ok(settings)
}

/// `-c name=value --name=value`
fn options(text: &str, settings: &mut BTreeMap<String, String>) -> Result<(), Refusal> {
    for word in text.split_whitespace().filter(|word| *word != "-c") {
        let word = word.trim_start_matches("-c").trim_start_matches("--");
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let name = name.to_lowercase();
        gate::setting(&name)?;
        if name != "extra_float_digits" {
            return Err(Refusal::not_modelled(&format!("the setting {name} in the startup message")));
        }
        gate::value_of(&name, value)?;
        settings.insert(name, value.to_owned());
    }
    Ok(())
}

/// Asks for the password, by MD5.
async fn log_in(
    reader: &mut Reader<TcpStream>,
    writer: &mut Writer<TcpStream>,
    shared: &Shared,
    user: &str,
) -> Result<bool, Ended> {
    let salt: [u8; 4] = std::array::from_fn(|_| fastrand::u8(..));
    let mut body = BytesMut::new();
    body.put_u32(5);
    body.put_slice(&salt);
    writer.put(&Frame::new(b'R', body)).await?;
    writer.flush().await?;
    let answer = reader.next().await?;
    let password = shared.password(user).await;
    let expected = password
        .map(|password| postgres_protocol::authentication::md5_hash(user.as_bytes(), password.as_bytes(), salt));
    Ok(answer.tag == b'p' && expected.is_some_and(|expected| expected == answer.first_text()))
}

async fn turn_away(writer: &mut Writer<TcpStream>, refusal: &Refusal) -> Result<Option<Session>, Ended> {
    writer.put(&Frame::error(refusal, "FATAL")).await?;
    writer.flush().await?;
    Ok(None)
}

async fn cancel(shared: &Shared, key: Bytes) -> Result<(), Ended> {
    if shared.config.mode == Mode::Serverless && !shared.config.unknowns.serverless_takes_cancel {
        return Ok(());
    }
    // In this order, so that a request does not reach the server behind when the session is through with it.
    Upstream::cancel(&shared.behind.socket, &key).await?;
    shared.cancel(&key);
    Ok(())
}

/// Cancel requests for this session come too late.
pub(super) fn forget(shared: &Shared, key: &Bytes) {
    shared.cancels.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
}
