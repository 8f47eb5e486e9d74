//! Names and addresses as the database host knows them: what the server itself would find.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::account::Resolver;
use crate::name::Name;

/// For so long in all the name service is asked. Without an answer a login has more candidates, which
/// is honest, and better than a check that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks this machine's resolver, each question once.
#[derive(Debug, Default)]
pub struct HostResolver {
    addresses: HashMap<Name, Option<Vec<IpAddr>>>,
    waited: Duration,
}

impl HostResolver {
    /// The answer to a question, if there is time left to ask it.
    fn ask<T>(&mut self, question: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.waited > PATIENCE {
            return None;
        }
        let asked = Instant::now();
        let answer = question();
        self.waited += asked.elapsed();
        answer
    }
}

impl Resolver for HostResolver {
    fn addresses(&mut self, name: &Name) -> Option<Vec<IpAddr>> {
        if let Some(known) = self.addresses.get(name) {
            return known.clone();
        }
        // A client's host name came from a name server, which its owner may control.
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        let plain = !name.0.is_empty() && name.0.iter().all(is_name);
        let text = std::str::from_utf8(&name.0).ok().filter(|_| plain);
        let found = text.and_then(|text| {
            self.ask(|| dns_lookup::lookup_host(text).ok().map(Iterator::collect))
        });
        self.addresses.insert(name.clone(), found.clone());
        found
    }

    fn name(&mut self, address: IpAddr) -> Option<Name> {
        self.ask(|| dns_lookup::lookup_addr(&address).ok())
            .map(|name| Name::from(&*name))
    }
}
