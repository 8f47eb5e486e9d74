//! The records of a calm stretch (see [`crate::audit_log::calm`]), nearly all of which only move the
//! figures of their account.

use super::{DISORDER, SILENCE, Session, Told};
use crate::audit_log::calm::{Account, Event};
use crate::audit_log::record::{self, Operation, Port};
use crate::audit_log::timestamp::Stamp;
use crate::tally::Client;
use crate::time::UtcSeconds;

/// Whom the numbers of accounts of one [`Scanner`](crate::audit_log::calm::Scanner) mean.
#[derive(Debug, Default)]
pub struct Clients {
    known: Vec<Known>,
    /// For which batch of the tally they were looked up, and whether hosts carried ports.
    of: (u32, bool),
}

#[derive(Debug)]
struct Known {
    account: Account,
    client: Option<Client>,
}

impl Clients {
    /// More accounts, with the numbers that follow; with those from 0 on if numbers begin `anew`.
    pub fn learn(&mut self, accounts: &mut Vec<Account>, anew: bool) {
        if anew {
            self.known.clear();
        }
        self.known.extend(accounts.drain(..).map(|account| Known {
            account,
            client: None,
        }));
    }
}

impl Session<'_> {
    /// Counts the events of a calm stretch, in their order.
    pub fn calm(&mut self, mut events: &[Event], clients: &mut Clients) {
        while let [event, rest @ ..] = events {
            match self.ordinary(events, clients) {
                0 => {
                    let Some(Known { account, .. }) = clients.known.get(event.account as usize)
                    else {
                        return;
                    };
                    let told = Told {
                        operation: event.operation,
                        connectionid: event.connectionid,
                        username: account.username(),
                        host: account.host(),
                        port: account.port(),
                        object: b"",
                        retcode: event.retcode.into(),
                    };
                    self.count(&told, Stamp::Local(event.time.into()));
                    events = rest;
                }
                counted => events = &events[counted..],
            }
        }
    }

    /// Counts events until one comes that does more than [`Session::count`] does for most: how many
    /// were counted.
    fn ordinary(&mut self, events: &[Event], clients: &mut Clients) -> usize {
        let connections = &self.connections;
        let Some(covered_to) = connections.covered_to.filter(|_| connections.gap.is_none()) else {
            return 0;
        };
        let ports = connections.ports;
        if clients.of != (self.tally.taken(), ports) {
            clients.of = (self.tally.taken(), ports);
            clients
                .known
                .iter_mut()
                .for_each(|known| known.client = None);
        }
        let is_followed = !connections.refused.is_empty()
            || !connections.changed.is_empty()
            || !connections.damaged.is_empty();
        let mut newest = covered_to.0;
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let mut counted = 0;
        self.tally.wrong_clock(false);
        for event in events {
            let at = self.clock.peek(Stamp::Local(event.time.into()));
            let in_order = newest <= self.latest.0
                && (newest - DISORDER + 1..=newest + SILENCE).contains(&at.0);
            if !in_order
                || event.operation == Operation::FailedConnect
                || is_followed && self.follows(event.connectionid)
            {
                break;
            }
            let Some(known) = clients.known.get_mut(event.account as usize) else {
                break;
            };
            let client = match known.client {
                Some(client) => client,
                None => {
                    let account = &known.account;
                    let host = match account.port() {
                        Port::Cut if !ports => break,
                        Port::None if ports => record::cut_ambiguous_port(account.host()),
                        Port::Cut | Port::None => account.host(),
                    };
                    *known
                        .client
                        .insert(self.tally.client(account.username(), host))
                }
            };
            match event.operation {
                Operation::Connect => self.tally.connect(client, at),
                Operation::Disconnect => self.tally.active(client, at),
                _ => self.tally.statement(client, at),
            }
            if !event.operation.is_statement() {
                self.clock.follow(at);
            }
            newest = newest.max(at.0);
            (first, last) = (first.min(at.0), last.max(at.0));
            counted += 1;
        }
        if counted > 0 {
            self.records += counted as u64;
            self.connections.covered_to = Some(UtcSeconds(newest));
            self.tally.covered(UtcSeconds(first), None);
            self.tally.covered(UtcSeconds(last), None);
        }
        counted
    }

    /// Whether something is known of the connection that its next record may change.
    fn follows(&self, connectionid: u64) -> bool {
        let connections = &self.connections;
        connections.refused.contains_key(&connectionid)
            || connections.changed.contains_key(&connectionid)
            || connections.damaged.contains_key(&connectionid)
    }
}
