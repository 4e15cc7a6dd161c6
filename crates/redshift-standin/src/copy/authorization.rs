//! With whose rights a COPY reads: a role, or keys. The families exclude each other.

use std::fmt;

use super::grammar::Words;
use super::statement::Refusal;

/// Whose rights; `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// The first is attached to the cluster, each may assume the next.
    Roles(Vec<String>),
    DefaultRole,
    Keys {
        id: String,
        secret: String,
        token: Option<String>,
    },
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Roles(roles) => f.debug_tuple("Roles").field(roles).finish(),
            Self::DefaultRole => f.write_str("DefaultRole"),
            Self::Keys { .. } => f.write_str("Keys([redacted])"),
        }
    }
}

/// What has been read of it; the parts of the key form come in any order.
#[derive(Default)]
pub(super) struct Draft {
    whole: Option<Authorization>,
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
}

impl Draft {
    /// Reads a clause if the next word begins one.
    pub(super) fn take(&mut self, words: &mut Words<'_>) -> Result<bool, Refusal> {
        if words.take_keyword("WITH") {
            words.keyword("CREDENTIALS")?;
            self.credentials(words)?;
        } else if words.take_keyword("CREDENTIALS") {
            self.credentials(words)?;
        } else if words.take_keyword("IAM_ROLE") {
            let role = role(words)?;
            self.set(role)?;
        } else if words.take_keyword("ACCESS_KEY_ID") {
            once(&mut self.id, words)?;
        } else if words.take_keyword("SECRET_ACCESS_KEY") {
            once(&mut self.secret, words)?;
        } else if words.take_keyword("SESSION_TOKEN") {
            once(&mut self.token, words)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn credentials(&mut self, words: &mut Words<'_>) -> Result<(), Refusal> {
        words.take_keyword("AS");
        let text = words.literal()?;
        self.set(credentials(&text)?)
    }

    fn set(&mut self, authorization: Authorization) -> Result<(), Refusal> {
        match self.whole.replace(authorization) {
            None => Ok(()),
            Some(_) => Err(Refusal::clash("conflicting or redundant options: authorization is given twice")),
        }
    }

    pub(super) fn finish(self) -> Result<Authorization, Refusal> {
        match (self.whole, self.id, self.secret, self.token) {
            (Some(whole), None, None, None) => Ok(whole),
            (None, Some(id), Some(secret), token) => Ok(Authorization::Keys { id, secret, token }),
            (None, None, None, None) => Err(Refusal::clash("COPY needs IAM_ROLE, CREDENTIALS or access keys")),
            (Some(_), ..) => Err(Refusal::clash("conflicting options: IAM_ROLE, CREDENTIALS and access keys")),
            _ => Err(Refusal::clash("ACCESS_KEY_ID and SECRET_ACCESS_KEY need each other")),
        }
    }
}

fn once(part: &mut Option<String>, words: &mut Words<'_>) -> Result<(), Refusal> {
    let value = words.literal()?;
    if value.is_empty() || value.contains(char::is_whitespace) {
        return Err(invalid());
    }
    match part.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::clash("conflicting or redundant options: a part of the access keys is given twice")),
    }
}

fn role(words: &mut Words<'_>) -> Result<Authorization, Refusal> {
    if words.take_keyword("DEFAULT") {
        return Ok(Authorization::DefaultRole);
    }
    let text = words.literal()?;
    if text == "SESSION" {
        return Err(Refusal::not_modelled("IAM_ROLE 'SESSION'"));
    }
    roles(&text).ok_or_else(|| Refusal::clash(format!("not a list of role ARNs without spaces: '{text}'")))
}

fn roles(text: &str) -> Option<Authorization> {
    let chain: Vec<String> = text.split(',').map(str::to_owned).collect();
    chain.iter().all(|role| is_role(role)).then_some(Authorization::Roles(chain))
}

fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, service, region, account, role] = parts.as_slice() else { return false };
    let name = role.strip_prefix("role/").unwrap_or_default();
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+=.@_-/".contains(&byte);
    *arn == "arn"
        && ["aws", "aws-cn", "aws-us-gov"].contains(partition)
        && *service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(is_name_byte)
}

/// The string of CREDENTIALS: case-sensitive, without spaces.
fn credentials(text: &str) -> Result<Authorization, Refusal> {
    if text.contains(char::is_whitespace) {
        return Err(invalid());
    }
    let (mut role, mut id, mut secret, mut token) = (None, None, None, None);
    for part in text.split(';') {
        let (key, value) = part.split_once('=').ok_or_else(invalid)?;
        let place = match key {
            "aws_iam_role" => &mut role,
            "aws_access_key_id" => &mut id,
            "aws_secret_access_key" => &mut secret,
            "token" => &mut token,
            "master_symmetric_key" => return Err(Refusal::not_modelled("ENCRYPTED")),
            _ => return Err(invalid()),
        };
        if value.is_empty() || place.replace(value.to_owned()).is_some() {
            return Err(invalid());
        }
    }
    match (role, id, secret, token) {
        (Some(role), None, None, None) => roles(&role).ok_or_else(invalid),
        (None, Some(id), Some(secret), token) => Ok(Authorization::Keys { id, secret, token }),
        _ => Err(invalid()),
    }
}

/// The refusal repeats nothing of the string: it may hold a secret.
fn invalid() -> Refusal {
    let form = "Invalid credentials. Must be of the format: credentials 'aws_iam_role=...' or \
        'aws_access_key_id=...;aws_secret_access_key=...[;token=...]'";
    Refusal::new("XX000", form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::Switches;
    use crate::copy::statement::parse;
    use crate::copy::testing::tokens;

    const ARN: &str = "arn:aws:iam::123456789012:role/longshore";

    fn rights(clause: &str) -> Result<Authorization, Refusal> {
        parse(&tokens(&format!("COPY t FROM 's3://b/k' {clause}")), &Switches::default())
            .map(|statement| statement.authorization)
    }

    fn keys(token: Option<&str>) -> Authorization {
        Authorization::Keys { id: "AK".into(), secret: "S/e+".into(), token: token.map(str::to_owned) }
    }

    #[test]
    fn roles_may_be_one_a_chain_or_the_default() {
        assert_eq!(rights(&format!("IAM_ROLE '{ARN}'")), Ok(Authorization::Roles(vec![ARN.into()])));
        let chain = Authorization::Roles(vec![ARN.into(), ARN.into()]);
        assert_eq!(rights(&format!("iam_role '{ARN},{ARN}'")), Ok(chain));
        assert_eq!(rights("IAM_ROLE default"), Ok(Authorization::DefaultRole));
        assert_eq!(rights("IAM_ROLE 'SESSION'").unwrap_err().sqlstate, "LS000");
    }

    #[test]
    fn a_chain_of_roles_has_no_spaces() {
        assert_eq!(rights(&format!("IAM_ROLE '{ARN}, {ARN}'")).unwrap_err().sqlstate, "42601");
        assert_eq!(rights("IAM_ROLE 'default'").unwrap_err().sqlstate, "42601");
        assert_eq!(rights("IAM_ROLE").unwrap_err().sqlstate, "42601");
    }

    #[test]
    fn keys_may_be_given_in_clauses_or_in_credentials() {
        assert_eq!(rights("ACCESS_KEY_ID 'AK' SECRET_ACCESS_KEY 'S/e+'"), Ok(keys(None)));
        assert_eq!(rights("ACCESS_KEY_ID 'AK' SECRET_ACCESS_KEY 'S/e+' SESSION_TOKEN 'T'"), Ok(keys(Some("T"))));
        let text = "aws_access_key_id=AK;aws_secret_access_key=S/e+";
        assert_eq!(rights(&format!("CREDENTIALS '{text}'")), Ok(keys(None)));
        assert_eq!(rights(&format!("CREDENTIALS '{text};token=T'")), Ok(keys(Some("T"))));
        assert_eq!(rights("ACCESS_KEY_ID 'AK'").unwrap_err().sqlstate, "42601");
    }

    #[test]
    fn with_and_as_are_noise_before_credentials() {
        let role = Ok(Authorization::Roles(vec![ARN.into()]));
        for clause in ["CREDENTIALS", "WITH CREDENTIALS", "CREDENTIALS AS", "with credentials as"] {
            assert_eq!(rights(&format!("{clause} 'aws_iam_role={ARN}'")), role);
        }
    }

    #[test]
    fn a_credentials_string_is_case_sensitive_and_has_no_spaces() {
        for text in ["AWS_IAM_ROLE=x", "aws_access_key_id=AK; aws_secret_access_key=S", "aws_access_key_id=AK", "x"] {
            let refusal = rights(&format!("CREDENTIALS '{text}'")).unwrap_err();
            assert!(refusal.message.starts_with("Invalid credentials. Must be of the format"), "{text}");
            assert!(!refusal.message.contains("AK"));
        }
    }

    #[test]
    fn the_three_families_exclude_each_other_and_one_is_needed() {
        let role = format!("IAM_ROLE '{ARN}'");
        let credentials = format!("CREDENTIALS 'aws_iam_role={ARN}'");
        let keys = "ACCESS_KEY_ID 'AK' SECRET_ACCESS_KEY 'S'";
        for clause in [
            format!("{role} {credentials}"),
            format!("{role} {keys}"),
            format!("{credentials} {keys}"),
            format!("{role} {role}"),
            String::new(),
        ] {
            assert_eq!(rights(&clause).unwrap_err().sqlstate, "42601", "{clause}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", keys(Some("T0ken")));
        assert!(!shown.contains("S/e+") && !shown.contains("T0ken") && !shown.contains("AK"));
    }
}
