//! Between nodes: packets, gossip, comparisons of sets, files.

use std::collections::BTreeSet;
use std::sync::Arc;

use aleph_ccn::stepped::Gossiped;
use aleph_p2p::gossip_id;
use aleph_types::ItemHash;

use super::event::{Event, Packet};
use super::{Broken, MS, PAGE, TALK, Talk, World, Wrong};
use crate::liar::lie;

impl World {
    pub(super) fn send(&mut self, from: usize, to: usize, mut packet: Packet) {
        self.packets.0 += 1;
        if self.peers[from].part != self.peers[to].part || (self.is_troubled && self.dice.per_mille(30)) {
            self.packets.1 += 1;
            return;
        }
        if self.peers[from].is_liar && self.dice.per_mille(500) {
            self.packets.3 += 1;
            packet = lie(packet, &mut self.dice);
        }
        let slow = self.peers[from].is_slow || self.peers[to].is_slow;
        let most = if slow { 3_000 * MS } else { 250 * MS };
        if self.is_troubled && self.dice.per_mille(20) {
            self.packets.2 += 1;
            let pause = self.dice.between(5 * MS, most);
            self.after(pause, Event::Arrive { from, to, packet: packet.clone() });
        }
        let pause = self.dice.between(5 * MS, most);
        self.after(pause, Event::Arrive { from, to, packet });
    }

    pub(super) fn spread(&mut self, node: usize, but: Option<usize>, payload: &Arc<[u8]>) {
        for to in self.peers[node].mesh.clone() {
            if Some(to) != but {
                self.send(node, to, Packet::Gossip(Arc::clone(payload)));
            }
        }
    }

    pub(super) fn arrive(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), Wrong> {
        if self.peers[to].node.is_none() {
            return Ok(());
        }
        match packet {
            Packet::Gossip(payload) => self.hear(from, to, &payload),
            Packet::Frame { talk, frame } => {
                let answer = match &mut self.peers[to].node {
                    Some(node) => node.answer(&frame)?,
                    None => None,
                };
                if let Some(frame) = answer {
                    self.send(to, from, Packet::FrameAnswer { talk, frame });
                }
                Ok(())
            }
            Packet::FrameAnswer { talk, frame } => {
                let Some(mut open) = self.take_talk(from, to, talk) else { return Ok(()) };
                let is_good = match &mut self.peers[to].node {
                    Some(node) => node.go_on(&mut open.comparison, &frame)?,
                    None => false,
                };
                if is_good {
                    self.continue_talk(to, talk, open);
                }
                Ok(())
            }
            Packet::Wanted { talk, elements } => {
                if let Some(node) = &self.peers[to].node {
                    let text = node.hand_on(&elements)?;
                    self.send(to, from, Packet::Parcel { talk, text });
                }
                Ok(())
            }
            Packet::Parcel { talk, text } => {
                let Some(open) = self.take_talk(from, to, talk) else { return Ok(()) };
                let text = self.filtered(to, text);
                let trusted = self.options.broken == Some(Broken::BelievesTombstones);
                if let Some(node) = &mut self.peers[to].node
                    && node.take(&open.asked, &text, trusted)
                {
                    self.need_step(to);
                    self.continue_talk(to, talk, open);
                }
                Ok(())
            }
            Packet::FileWanted(hash) => {
                if let Some(node) = &self.peers[to].node
                    && let Some(bytes) = node.file(&hash)?
                {
                    self.send(to, from, Packet::File(bytes));
                }
                Ok(())
            }
            Packet::File(bytes) => {
                if let Some(node) = &mut self.peers[to].node {
                    node.put_file(&bytes)?;
                    self.need_step(to);
                }
                Ok(())
            }
        }
    }

    pub(super) fn hear(&mut self, from: usize, to: usize, payload: &Arc<[u8]>) -> Result<(), Wrong> {
        if !self.peers[to].seen.insert(gossip_id(payload).0) {
            return Ok(());
        }
        if self.options.broken.is_some() {
            let text = String::from_utf8_lossy(payload).into_owned();
            if !self.passes(to, &text) {
                return Ok(());
            }
        }
        let Some(node) = &mut self.peers[to].node else { return Ok(()) };
        if node.gossip(payload)? == Gossiped::Taken {
            self.need_step(to);
            self.spread(to, Some(from), payload);
        }
        Ok(())
    }

    /// Without the changes of documents that a node which decides by arrival does not take.
    pub(super) fn filtered(&mut self, node: usize, text: String) -> String {
        if self.options.broken != Some(Broken::DecidesByArrival) {
            return text;
        }
        let mut told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let messages = told["messages"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let kept = messages.into_iter().filter(|message| self.passes(node, &message.to_string()));
        told["messages"] = kept.collect();
        told.to_string()
    }

    pub(super) fn round(&mut self, node: usize) -> Result<(), Wrong> {
        let with = self.dice.roll(self.peers.len());
        let broken = self.options.broken == Some(Broken::NeverCatchesUp);
        let peer = &mut self.peers[node];
        // one talk at a time, as the real one
        if with == node || broken || !peer.talks.is_empty() {
            return Ok(());
        }
        let Some(inside) = &mut peer.node else { return Ok(()) };
        let mut comparison = inside.compare()?;
        let Some(frame) = comparison.frame.take() else { return Ok(()) };
        self.talks += 1;
        let talk = self.talks;
        self.peers[node].talks.insert(talk, Talk { with, comparison, asked: BTreeSet::new() });
        self.send(node, with, Packet::Frame { talk, frame });
        self.after(TALK, Event::GiveUp(node, talk));
        Ok(())
    }

    pub(super) fn take_talk(&mut self, from: usize, to: usize, talk: u64) -> Option<Talk> {
        let is_theirs = self.peers[to].talks.get(&talk).is_some_and(|open| open.with == from);
        is_theirs.then(|| self.peers[to].talks.remove(&talk)).flatten()
    }

    /// First what is lacking, then the next frame.
    pub(super) fn continue_talk(&mut self, node: usize, talk: u64, mut open: Talk) {
        let asked: BTreeSet<[u8; 32]> = open.comparison.lacking.iter().take(PAGE).copied().collect();
        let with = open.with;
        let packet = if !asked.is_empty() {
            open.comparison.lacking.retain(|element| !asked.contains(element));
            let elements = asked.iter().copied().collect();
            open.asked = asked;
            Packet::Wanted { talk, elements }
        } else if let Some(frame) = open.comparison.frame.take() {
            Packet::Frame { talk, frame }
        } else {
            return;
        };
        self.peers[node].talks.insert(talk, open);
        self.send(node, with, packet);
    }

    pub(super) fn fetch(&mut self, node: usize, life: u32, hash: ItemHash) -> Result<(), Wrong> {
        let peer = &self.peers[node];
        let Some(inside) = peer.node.as_ref().filter(|_| peer.life == life) else { return Ok(()) };
        if inside.file(&hash)?.is_some() {
            return Ok(());
        }
        let from = self.dice.roll(self.peers.len());
        if from != node {
            self.send(node, from, Packet::FileWanted(hash.clone()));
        }
        let pause = self.dice.between(300 * MS, 1_500 * MS);
        self.after(pause, Event::Fetch(node, life, hash));
        Ok(())
    }
}
