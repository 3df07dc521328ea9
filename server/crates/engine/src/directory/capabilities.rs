//! The directory as modules see it: `clients` (who is connected), `tags` and `streams` (who has what open). Sends are effects, which shards carry out.

use cohnect_capabilities::clients::{ClientInfo, Clients};
use cohnect_capabilities::streams::Streams;
use cohnect_capabilities::tags::{Tags, check};
use cohnect_capabilities::{Audience, ClientId, Error, Result};
use cohnect_protocol::ops::expression::Expression;

use super::Directory;
use super::part::{GIVEN_TAGS_MAX, Member};

impl Clients for Directory {
    fn check_expression(&self, expression: &str) -> Result<()> {
        Expression::parse(expression)
            .map(drop)
            .map_err(|malformed| Error::invalid(malformed.to_string()))
    }

    fn online(&self, id: ClientId) -> bool {
        self.part(id).slot(id).is_some()
    }

    /// Nobody has a user until there are tokens.
    fn online_users(&self, _users: &[String]) -> Vec<String> {
        Vec::new()
    }

    fn info(&self, id: ClientId) -> Result<ClientInfo> {
        self.part(id).find(id).map(info).ok_or(Error::NotFound)
    }

    fn ids(&self, who: &Audience, after: Option<ClientId>, limit: u32) -> Result<Vec<ClientId>> {
        self.page(who, after, limit)
    }

    fn infos(
        &self,
        who: &Audience,
        after: Option<ClientId>,
        limit: u32,
    ) -> Result<Vec<ClientInfo>> {
        let ids = self.page(who, after, limit)?;
        Ok(ids
            .into_iter()
            .filter_map(|id| self.part(id).find(id).map(info))
            .collect())
    }

    fn count(&self, who: &Audience) -> Result<u32> {
        self.size(who, None)
    }

    fn reach(&self, who: &Audience, except: Option<ClientId>) -> Result<u32> {
        self.size(who, except)
    }

    fn admits(&self, id: ClientId) -> Result<()> {
        match self.part(id).find(id) {
            None => Err(Error::Closed),
            Some(member) if member.card.backlogged() => Err(Error::Busy),
            Some(_) => Ok(()),
        }
    }
}

impl Tags for Directory {
    fn add(&self, id: ClientId, tag: &str) -> Result<bool> {
        check(tag)?;
        match self.part(id).give(id, tag) {
            None => Err(Error::Closed),
            Some(Ok(new)) => Ok(new),
            Some(Err(wanted)) => Err(Error::limit("tags", GIVEN_TAGS_MAX as u64, wanted as u64)),
        }
    }

    fn remove(&self, id: ClientId, tag: &str) -> Result<bool> {
        check(tag)?;
        self.part(id).take(id, tag).ok_or(Error::Closed)
    }

    fn replace(&self, id: ClientId, tags: &[String]) -> Result<()> {
        tags.iter().try_for_each(|tag| check(tag))?;
        let mut wanted: Vec<&str> = tags.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if wanted.len() > GIVEN_TAGS_MAX {
            let asked = wanted.len() as u64;
            return Err(Error::limit("tags", GIVEN_TAGS_MAX as u64, asked));
        }
        let mut part = self.part(id);
        let member = part.find(id).ok_or(Error::Closed)?;
        let gone: Vec<_> = member
            .given()
            .iter()
            .filter(|tag| wanted.binary_search(&&***tag).is_err())
            .cloned()
            .collect();
        for tag in gone {
            part.take(id, &tag);
        }
        for tag in wanted {
            part.give(id, tag);
        }
        Ok(())
    }

    fn has(&self, id: ClientId, tag: &str) -> bool {
        self.part(id)
            .find(id)
            .is_some_and(|member| member.has_listed(tag))
    }

    fn of(&self, id: ClientId) -> Result<Vec<String>> {
        let tags = self.listed_tags(id).ok_or(Error::NotFound)?;
        Ok(tags.iter().map(ToString::to_string).collect())
    }
}

impl Streams for Directory {
    fn subscribers(&self, topic: &str) -> u32 {
        let of = |part: &super::part::Part| part.subscribers(topic).map_or(0, |slots| slots.len());
        let count: u64 = self.parts.iter().map(|locked| of(&locked.lock())).sum();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn is_open(&self, topic: &str, client: ClientId) -> bool {
        let part = self.part(client);
        part.slot(client).is_some_and(|slot| {
            part.subscribers(topic)
                .is_some_and(|slots| slots.contains(slot))
        })
    }
}

fn info(member: &Member) -> ClientInfo {
    let card = &member.card;
    ClientInfo {
        id: card.id,
        user: None,
        tags: member.listed().iter().map(ToString::to_string).collect(),
        address: card.address.to_string(),
        connected_at: card.connected_at,
        last_seen_at: card.last_seen_at(),
        rtt: card.rtt(),
        protocol_version: card.protocol_version,
    }
}
