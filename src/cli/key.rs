//! `alfred key new|list|revoke`

use super::key_place::{FileArgs, Place, ReloadArgs, to_read};
use super::keys;
use super::{Context, Outcome, output};
use crate::access::{Digest, Entry, MAX_KEYS, Role, Scope, check_name, mint};
use crate::clock::{Clock as _, SystemClock};
use crate::domain::CollectionName;
use crate::failure::Failure;
use clap::{Args, Subcommand, ValueEnum};
use rand::TryRng as _;
use rand::rngs::SysRng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Arguments of `alfred key`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  alfred key new app\n  alfred key new loader --role write --collection handbook\n  \
    alfred key list\n  alfred key revoke app\n\n\
    As soon as there is a file of keys, requests over TCP need one, as `Authorization: Bearer KEY`; the \
    unix socket needs none. A change is put in force at once where the daemon of this file runs."
)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(Subcommand)]
enum KeyVerb {
    /// Make a key, and print it once
    #[command(after_help = "Examples:\n  alfred key new app\n  \
        alfred key new loader --role write --collection handbook --collection faq\n  \
        KEY=$(alfred key new ci --role write)\n\n\
        The key alone goes to stdout; what is kept is its hash.")]
    New(NewArgs),
    /// Names, roles and collections of all keys
    #[command(after_help = "Examples:\n  alfred key list\n  alfred key list --json")]
    List(FileArgs),
    /// Take a key back
    #[command(after_help = "Examples:\n  alfred key revoke app")]
    Revoke(RevokeArgs),
}

#[derive(Args)]
struct NewArgs {
    /// What it is called in lists and logs
    #[arg(value_name = "NAME")]
    name: String,
    /// What it may do; each role includes the ones before it
    #[arg(long, value_enum, default_value_t = RoleArg::Query)]
    role: RoleArg,
    /// Bind it to this collection; may be repeated [default: all collections]
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    reload: ReloadArgs,
}

#[derive(Args)]
struct RevokeArgs {
    /// Which one
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    reload: ReloadArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Ask, read documents, list collections, see status and metrics
    Query,
    /// Also store and delete documents
    Write,
    /// Also delete collections, reload, take profiles
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Query => Self::Query,
            RoleArg::Write => Self::Write,
            RoleArg::Admin => Self::Admin,
        }
    }
}

pub(super) fn run(arguments: &KeyArgs, context: &Context) -> Outcome {
    match &arguments.verb {
        KeyVerb::New(arguments) => new(arguments, context),
        KeyVerb::List(arguments) => list(arguments, context),
        KeyVerb::Revoke(arguments) => revoke(arguments, context),
    }
}

fn new(arguments: &NewArgs, context: &Context) -> Outcome {
    check_name(&arguments.name)
        .map_err(|problem| Failure::usage(format!("the name of a key {problem}")))?;
    let scope = scope(&arguments.collections)?;
    let mut random = [0; 32];
    SysRng
        .try_fill_bytes(&mut random)
        .map_err(|error| Failure::failed("the system gives no random bytes").because(error))?;
    let key = mint(random);
    let entry = Entry {
        name: arguments.name.clone(),
        role: arguments.role.into(),
        scope,
        digest: Digest::of(key.reveal().as_bytes()),
        created_at: OffsetDateTime::from(SystemClock.wall())
            .replace_nanosecond(0)
            .ok()
            .and_then(|now| now.format(&Rfc3339).ok()),
    };
    let place = Place::to_change(&arguments.file, context)?;
    let is_first = keys::change(&place.path, |entries| {
        add(entries, entry.clone())?;
        Ok(entries.len() == 1)
    })?;
    let reloaded = place.reload(&arguments.reload);
    let is_in_force = *reloaded.as_ref().unwrap_or(&false);
    if context.json {
        let mut body = described(&entry);
        body["key"] = json!(key.reveal());
        body["file"] = json!(place.path.display().to_string());
        body["reloaded"] = json!(is_in_force);
        output::print_json(&body)?;
    } else {
        output::print(key.reveal())?;
        let path = place.path.display();
        let first = "\nit is the first one: from then on requests over TCP need a key";
        output::error(&format!(
            "key {} ({}) is in {path}; it is shown this once{}{}",
            entry.name,
            entry.role,
            place.in_force(is_in_force),
            if is_first { first } else { "" }
        ));
    }
    reloaded.map(|_| ()).map_err(|failure| {
        let what = format!("key {} is made, and not in force", entry.name);
        Failure::failed(what)
            .because(failure)
            .hint("mend what is wrong, then run `alfred reload`")
    })
}

fn add(entries: &mut Vec<Entry>, entry: Entry) -> Outcome {
    if entries.iter().any(|known| known.name == entry.name) {
        let what = format!("there is a key {} already", entry.name);
        return Err(Failure::failed(what)
            .hint("to rotate, make one of another name, change to it, then revoke the old one"));
    }
    if entries.len() >= MAX_KEYS {
        let what = format!("there are {MAX_KEYS} keys, which are the most");
        return Err(Failure::failed(what).hint("revoke those that nobody uses"));
    }
    entries.push(entry);
    Ok(())
}

fn scope(collections: &[String]) -> Result<Scope, Failure> {
    let names = collections.iter().map(|name| CollectionName::new(name));
    let names: BTreeSet<_> = names
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::usage("--collection").because(error))?;
    Ok(if names.is_empty() {
        Scope::default()
    } else {
        Scope::bound_to(names)
    })
}

fn described(entry: &Entry) -> Value {
    let names: Vec<&str> = entry.scope.names().map(CollectionName::as_str).collect();
    json!({
        "name": entry.name,
        "role": entry.role.as_str(),
        "collections": entry.scope.is_bound().then_some(names),
        "created_at": entry.created_at,
    })
}

fn list(arguments: &FileArgs, context: &Context) -> Outcome {
    let path = to_read(arguments, context)?;
    let entries = keys::read(&path)?;
    if context.json {
        let listed = entries.as_deref().unwrap_or_default().iter();
        let body = json!({
            "file": path.display().to_string(),
            "exists": entries.is_some(),
            "keys": listed.map(described).collect::<Vec<_>>(),
        });
        return output::print_json(&body);
    }
    output::print(&told(&path, entries.as_deref()))
}

fn told(path: &Path, entries: Option<&[Entry]>) -> String {
    let path = path.display();
    match entries {
        None => format!("no keys: there is no {path}, and requests over loopback need none"),
        Some([]) => format!(
            "no keys in {path}: all requests over TCP are refused; without the file, those over loopback \
             need none"
        ),
        Some(entries) => {
            let width = entries.iter().map(|entry| entry.name.len()).max();
            let width = width.unwrap_or(0).max(4);
            let mut text = format!(
                "{:width$}  role   created               collections\n",
                "name"
            );
            for entry in entries {
                let names: Vec<&str> = entry.scope.names().map(CollectionName::as_str).collect();
                let names = if entry.scope.is_bound() {
                    names.join(", ")
                } else {
                    "all".to_owned()
                };
                let made = entry.created_at.as_deref().unwrap_or("-");
                let _ = writeln!(
                    text,
                    "{:width$}  {:5}  {made:20}  {names}",
                    entry.name,
                    entry.role.as_str()
                );
            }
            text
        }
    }
}

fn revoke(arguments: &RevokeArgs, context: &Context) -> Outcome {
    let place = Place::to_change(&arguments.file, context)?;
    if keys::read(&place.path)?.is_none() {
        return Err(unknown(&arguments.name, &[]));
    }
    let left = keys::change(&place.path, |entries| {
        let before = entries.len();
        let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        entries.retain(|entry| entry.name != arguments.name);
        if entries.len() == before {
            return Err(unknown(&arguments.name, &names));
        }
        Ok(entries.len())
    })?;
    let is_in_force = place.reload(&arguments.reload).map_err(|failure| {
        let what = format!(
            "key {} is out of {}, and the running daemon still takes it",
            arguments.name,
            place.path.display()
        );
        Failure::failed(what)
            .because(failure)
            .hint("mend what is wrong, then run `alfred reload`")
    })?;
    if context.json {
        return output::print_json(&json!({
            "name": arguments.name,
            "status": "revoked",
            "file": place.path.display().to_string(),
            "keys_left": left,
            "reloaded": is_in_force,
        }));
    }
    let mut text = format!(
        "key {} is revoked{}",
        arguments.name,
        place.in_force(is_in_force)
    );
    if left == 0 {
        let _ = write!(
            text,
            "\nno key is left: all requests over TCP are refused. To let those over loopback in without one, \
             remove {} and reload",
            place.path.display()
        );
    }
    output::print(&text)
}

fn unknown(name: &str, known: &[String]) -> Failure {
    let name = crate::domain::query::shorten(name, 64);
    // Somebody may have given the key instead of its name.
    let shown = check_name(&name).map_or_else(|_| "of that name".to_owned(), |()| name);
    let failure = Failure::failed(format!("there is no key {shown}"));
    match known {
        [] => failure.hint("`alfred key new NAME` makes one"),
        known => failure.hint(format!("there are: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_in_the_place_of_its_name_is_not_repeated() {
        let shown = unknown("alfred_Secret", &["app".to_owned()]).render();
        assert_eq!(
            shown,
            "error: there is no key of that name\nhint: there are: app"
        );
        assert!(unknown("ap", &[]).render().contains("no key ap\n"));
    }

    #[test]
    fn lists_say_what_no_keys_mean() {
        let path = Path::new("/k");
        assert!(told(path, None).contains("need none"));
        assert!(told(path, Some(&[])).contains("are refused"));
        let entry = Entry {
            name: "app".to_owned(),
            role: Role::Write,
            scope: scope(&["docs".to_owned(), "faq".to_owned()]).unwrap(),
            digest: Digest::of(b"a"),
            created_at: None,
        };
        let text = told(path, Some(&[entry]));
        assert!(
            text.contains("app   write  -") && text.contains("docs, faq"),
            "{text}"
        );
    }
}
