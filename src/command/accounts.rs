//! `conntracker accounts`: when was each account last used?
//!
//! The log knows names and the hosts of clients, the server accounts with host patterns, and only
//! `check` brings the two together. So with `--state` the list is another one: the accounts as the last
//! check judged them, those that were never used among them, and the time of that check.

use crate::cli::AccountsFlags;
use crate::config::Config;
use crate::error::{Error, ExitStatus, Result};
use crate::report::{self, Look};
use crate::store::{AccountFilter, AccountUse, JudgedAccount, Order, SortBy, Store};
use crate::time::{Span, UtcSeconds};

/// Prints the accounts that the flags ask for.
pub(super) fn print(flags: &AccountsFlags, config: &Config) -> Result<ExitStatus> {
    let now = UtcSeconds::now();
    let before = |span: Span| UtcSeconds(now.0.saturating_sub(span.0));
    let filter = AccountFilter {
        server: flags.list.server.clone(),
        not_active_since: flags.unused_for.map(before),
        name: flags.name.clone(),
        host: flags.host.clone(),
        order: Order {
            by: flags.sort.unwrap_or_default(),
            reverse: flags.reverse,
        },
    };
    let look = Look::of_stdout(config.time_zone, now);
    if !flags.state.is_empty() {
        print_judged(flags, &filter, &look, config)?;
        return Ok(ExitStatus::Fine);
    }
    let mut store = super::open_store(config)?;
    let mut out = super::stdout();
    let span = flags.unused_for.unwrap_or(config.check.unused_after);
    let mut unused = 0_u64;
    let printed = report::print(
        flags.list.format,
        &look,
        flags.list.limit(),
        &mut out,
        |row| {
            store.accounts(&filter, &mut |used: AccountUse| {
                unused += u64::from(used.last_active.is_none_or(|at| at < before(span)));
                row(used)
            })
        },
    )?;
    let nothing = match is_narrow(&filter) {
        false => "no account was seen yet",
        true => "no account that was seen fits",
    };
    let summary = format!(
        "{}, {unused} without a sign of use for {}",
        super::counted(printed.rows, "account"),
        span.in_words()
    );
    super::conclude(&flags.list, &look, &printed, &mut out, nothing, &summary)?;
    Ok(ExitStatus::Fine)
}

/// The accounts of the last check that it judged so.
fn print_judged(
    flags: &AccountsFlags,
    filter: &AccountFilter,
    look: &Look,
    config: &Config,
) -> Result<()> {
    if filter.order.by == SortBy::FirstSeen {
        let message = "--sort first-seen: a check does not keep when it was; sort by last-active, \
                       last-seen, connects, name or host";
        return Err(Error::Config(message.into()));
    }
    let mut store = super::open_store(config)?;
    let mut out = super::stdout();
    let mut any = false;
    let printed = report::print(
        flags.list.format,
        look,
        flags.list.limit(),
        &mut out,
        |row| {
            store.account_statuses(filter, &mut |judged: JudgedAccount| {
                any = true;
                let is_wanted = |state: &crate::check::State| state.name() == judged.status.state;
                match flags.state.iter().any(is_wanted) {
                    true => row(judged),
                    false => Ok(()),
                }
            })?;
            match any || was_judged(&mut *store, filter)? {
                true => Ok(()),
                // An empty list would say that there is no such account.
                false => Err(Error::Store {
                    store: store.describe(),
                    message: format!(
                        "no account{} was judged yet; run 'conntracker check' first",
                        (filter.server.as_ref())
                            .map(|server| format!(" of a server '{server}'"))
                            .unwrap_or_default()
                    ),
                }),
            }
        },
    )?;
    let nothing = "the last 'conntracker check' judged no account so";
    let summary = super::counted(printed.rows, "account");
    super::conclude(&flags.list, look, &printed, &mut out, nothing, &summary)
}

/// Whether there was a check of the server, or of any.
fn was_judged(store: &mut dyn Store, filter: &AccountFilter) -> Result<bool> {
    let all = AccountFilter {
        server: filter.server.clone(),
        ..AccountFilter::default()
    };
    let mut any = false;
    store.account_statuses(&all, &mut |_| {
        any = true;
        Ok(())
    })?;
    Ok(any)
}

fn is_narrow(filter: &AccountFilter) -> bool {
    let AccountFilter {
        server,
        not_active_since,
        name,
        host,
        order: _,
    } = filter;
    server.is_some() || not_active_since.is_some() || name.is_some() || host.is_some()
}
