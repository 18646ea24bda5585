//! Owns the commands about the device itself: its key, its peers, its health.

use eidetica::{Instance, Value};

use crate::{
    failure::{Code, Failure},
    form,
    home::Home,
    output::Output,
    run::Session,
};

/// `init`, `id`.
pub(crate) fn id(session: &Session) -> Result<(), Failure> {
    let key = session.instance.public_key().to_string();
    let value = Value::from([("key", key.as_str())]);
    session.output.answer(&value, || key)
}

/// `peers`.
pub(crate) async fn peers(session: &Session) -> Result<(), Failure> {
    for peer in session.instance.sync().peers().await? {
        let addresses: Vec<_> = peer.addresses.iter().map(ToString::to_string).collect();
        let value = Value::from([
            ("key", Value::from(peer.key.to_string())),
            (
                "addresses",
                Value::List(addresses.iter().map(|a| a.as_str().into()).collect()),
            ),
            ("last", form::time(peer.last).into()),
        ]);
        session.output.item(value, || {
            let last = form::time(peer.last);
            format!("{}  {last}  {}", peer.key, addresses.join("  "))
        })?;
    }
    session.output.end()
}

/// `doctor` on its own: data that does not open is a finding, too.
pub(crate) async fn doctor_of(home: &Home, output: &Output) -> Result<Code, Failure> {
    match home.open().await {
        Ok(instance) => report(output, &problems(&instance).await?),
        Err(failure) if failure.is_damage() => report(output, &[failure.to_string()]),
        Err(failure) => Err(failure),
    }
}

/// `doctor` inside `serve`.
pub(crate) async fn doctor(session: &Session) -> Result<Code, Failure> {
    report(&session.output, &problems(&session.instance).await?)
}

async fn problems(instance: &Instance) -> Result<Vec<String>, Failure> {
    let problems = Box::pin(instance.storage().doctor()).await?;
    Ok(problems.iter().map(ToString::to_string).collect())
}

fn report(output: &Output, problems: &[String]) -> Result<Code, Failure> {
    let is_ok = problems.is_empty();
    let list = problems.iter().map(|problem| problem.as_str().into());
    let value = Value::from([
        ("ok", Value::from(is_ok)),
        ("problems", Value::List(list.collect())),
    ]);
    output.answer(&value, || match is_ok {
        true => "everything holds".to_owned(),
        false => problems.join("\n"),
    })?;
    Ok(if is_ok { Code::Done } else { Code::Failed })
}
