//! Owns what goes wrong in a world, and the end of it.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use eidetica_core::authority::Level;
use eidetica_store::StoreErrorKind;

use super::{
    Run, YEAR,
    device::{Fault, open},
    edits,
};
use crate::{
    sim::{Chance, Link},
    store::Fault as DiskFault,
};

/// Things that happen in a world.
const STEPS: std::ops::Range<u64> = 25..60;

impl Run {
    /// Lets things happen, one after the other, while everybody syncs.
    pub(super) async fn trouble(&mut self) -> Result<(), Fault> {
        self.shake_links();
        for _ in 0..self.dice.within(STEPS) {
            self.clock.sleep(self.dice.millis(0..2_000)).await;
            let number = self.any();
            if self.dice.below(3) == 0 && self.devices[number].running.is_some() {
                self.check_cursors(number).await?;
            }
            match self.dice.below(100) {
                0..60 => self.edit(number).await?,
                60..66 => self.shake_links(),
                66..70 => self.separate(),
                70..74 => self.connect(),
                74..78 => self.break_off(),
                78..82 => self.fail_commit(number),
                82..86 => self.flush(number).await?,
                86..89 => self.kill(number).await?,
                89..92 => self.lose_power(number).await?,
                92..94 => self.restart(number).await?,
                94..98 => self.change_members().await?,
                _ => self.set_clock(number),
            }
        }
        Ok(())
    }

    /// Ends all trouble: every link works, every device runs, and what is written is durable.
    pub(super) async fn heal(&mut self) -> Result<(), Fault> {
        self.note("all is well from now on");
        self.seen.is_well.store(true, Relaxed);
        self.net
            .set_every_link(&Link::new().with_latency(Duration::from_millis(20)));
        self.forbid_dialling();
        for number in 0..self.devices.len() {
            if self.devices[number].running.is_none() {
                self.start(number).await?;
            }
        }
        for number in 0..self.devices.len() {
            self.flush(number).await?;
        }
        Ok(())
    }

    /// Lets the first administrator take everybody back who is removed by what it knows; whether
    /// there was somebody.
    pub(super) async fn take_back(&mut self) -> Result<bool, Fault> {
        let mut removed = Vec::new();
        for number in 1..self.devices.len() {
            if !self.is_member(0, number).await? {
                removed.push(number);
            }
        }
        if removed.is_empty() {
            return Ok(false);
        }
        for number in removed {
            self.set_member(0, number, true).await?;
        }
        self.flush(0).await?;
        Ok(true)
    }

    fn any(&self) -> usize {
        usize::try_from(self.dice.below(self.devices.len() as u64)).expect("is below a length")
    }

    fn any_two(&self) -> (usize, usize) {
        let one = self.any();
        let others: Vec<_> = (0..self.devices.len()).filter(|n| *n != one).collect();
        (one, *self.dice.pick(&others))
    }

    /// Gives every link new faults.
    fn shake_links(&self) {
        let dice = &self.dice;
        let link = Link::new()
            .with_latency(dice.millis(1..200))
            .with_jitter(dice.millis(0..300))
            .with_bytes_per_second(dice.within(20_000..2_000_000))
            .with_loss(Chance::per_mille(
                u16::try_from(dice.below(30)).unwrap_or(0),
            ))
            .with_cuts(Chance::per_mille(
                u16::try_from(dice.below(250)).unwrap_or(0),
            ))
            .with_duplicates(Chance::per_mille(
                u16::try_from(dice.below(100)).unwrap_or(0),
            ));
        self.note(format_args!("links are {link:?}"));
        self.net.set_every_link(&link);
        self.forbid_dialling();
    }

    /// Lets nobody dial but along the routes.
    fn forbid_dialling(&self) {
        for (one, from) in self.devices.iter().enumerate() {
            for (other, to) in self.devices.iter().enumerate() {
                if one != other && !self.routes.contains(&(one, other)) {
                    let link = self.net.link(&from.name, &to.name).with_dialling(false);
                    self.net.set_link(&from.name, &to.name, link);
                }
            }
        }
    }

    fn separate(&self) {
        let (one, other) = self.any_two();
        let (from, to) = (&self.devices[one].name, &self.devices[other].name);
        let link = self.net.link(from, to);
        let link = match self.dice.below(3) {
            0 => link.with_dialling(false),
            _ => link.with_up(false),
        };
        self.note(format_args!("{from}>{to} {link:?}"));
        self.net.set_link(from, to, link);
    }

    fn connect(&self) {
        self.note("links are up");
        for one in &self.devices {
            for other in &self.devices {
                let link = self.net.link(&one.name, &other.name).with_up(true);
                self.net.set_link(&one.name, &other.name, link);
            }
        }
    }

    fn break_off(&self) {
        let (one, other) = self.any_two();
        let (one, other) = (&self.devices[one].name, &self.devices[other].name);
        self.note(format_args!("{one} and {other} break off"));
        self.net.break_off(one, other);
    }

    fn fail_commit(&mut self, number: usize) {
        self.breakdowns += 1;
        let device = &self.devices[number];
        let fault = match self.dice.below(2) {
            0 => DiskFault::AcknowledgementLost,
            _ => DiskFault::NotApplied(StoreErrorKind::Engine),
        };
        self.note(format_args!(
            "a commit of {} will fail: {fault:?}",
            device.name
        ));
        let next = device.disk().commits() + 1 + self.dice.below(3);
        device.disk().fail_commit(next, fault);
    }

    pub(super) async fn flush(&mut self, number: usize) -> Result<(), Fault> {
        if let Some(running) = &self.devices[number].running {
            running.storage.flush().await?;
            self.note(format_args!("{} flushes", self.devices[number].name));
            let mut flushed = std::mem::take(&mut self.devices[number].unflushed);
            self.devices[number].acknowledged.append(&mut flushed);
        }
        Ok(())
    }

    async fn kill(&mut self, number: usize) -> Result<(), Fault> {
        self.breakdowns += 1;
        self.note(format_args!("{} is killed", self.devices[number].name));
        self.devices[number].kill().await?;
        self.come_back(number).await
    }

    async fn lose_power(&mut self, number: usize) -> Result<(), Fault> {
        self.breakdowns += 1;
        self.note(format_args!("{} loses power", self.devices[number].name));
        self.given_away[number] = self.given_away(number).await?;
        self.devices[number].lose_power().await?;
        self.come_back(number).await
    }

    async fn restart(&mut self, number: usize) -> Result<(), Fault> {
        self.breakdowns += 1;
        self.note(format_args!("{} is restarted", self.devices[number].name));
        if let Some(mut stopped) = self.devices[number].shut_down().await? {
            self.check_told(&mut stopped).await?;
            stopped.transport.end();
        }
        self.come_back(number).await
    }

    /// Starts a device again; others write meanwhile.
    async fn come_back(&mut self, number: usize) -> Result<(), Fault> {
        let pause = edits::pause(&self.dice) / 3;
        for _ in 0..3 {
            self.clock.sleep(pause).await;
            let other = self.any();
            self.edit(other).await?;
        }
        if self.devices[number].running.is_some() {
            return Ok(());
        }
        self.note(format_args!("{} starts", self.devices[number].name));
        self.start(number).await
    }

    /// Lets administrators remove members or take them back: one of them one member or several, or
    /// both of them, at the same time.
    async fn change_members(&mut self) -> Result<(), Fault> {
        let candidates: Vec<usize> = self.removable.iter().copied().collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let one = *self.dice.pick(&candidates);
        let other = *self.dice.pick(&candidates);
        match self.dice.below(3) {
            0 => self.change_member(0, one).await,
            1 => {
                self.change_member(0, one).await?;
                self.change_member(0, other).await
            }
            _ => {
                self.change_member(0, one).await?;
                // It knows nothing of the first one's word.
                self.change_member(1, other).await
            }
        }
    }

    /// Lets an administrator remove a member, or take it back if it was removed.
    async fn change_member(&mut self, by: usize, number: usize) -> Result<(), Fault> {
        let can = self.has_second_admin || by == 0;
        if !can || by == number || self.devices[by].running.is_none() {
            return Ok(());
        }
        let is_member = self.is_member(by, number).await?;
        self.set_member(by, number, !is_member).await
    }

    /// Whether a device is a member of every database, by what an administrator knows.
    async fn is_member(&self, by: usize, number: usize) -> Result<bool, Fault> {
        for id in &self.databases {
            let Some(database) = open(self.storage(by)?, *id).await? else {
                continue;
            };
            if database.level(&self.devices[number].key) != self.due_level(number) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets an administrator add or remove a member of every database.
    async fn set_member(&mut self, by: usize, number: usize, is_member: bool) -> Result<(), Fault> {
        let (key, name) = (self.devices[number].key, self.devices[number].name.clone());
        let level = match is_member {
            true => self.due_level(number),
            false => Level::None,
        };
        for id in self.databases.clone() {
            let Some(database) = open(self.storage(by)?, id).await? else {
                continue;
            };
            while database.level(&key) != level {
                let mut tx = database.transaction().await?;
                tx.set_permission(key, level, &name);
                match tx.commit().await {
                    Ok(id) => {
                        self.note(format_args!(
                            "{name} is {level:?} by d{by}, {}",
                            id.to_short()
                        ));
                        self.promise(by, id);
                        break;
                    }
                    Err(error) => self.note(format_args!("{name} stays as it is: {error}")),
                }
                if by > 0 {
                    // It may be removed itself.
                    break;
                }
            }
        }
        Ok(())
    }

    fn set_clock(&mut self, number: usize) {
        let ahead = i64::try_from(self.dice.below(2 * YEAR)).expect("is a time") - YEAR as i64;
        self.note(format_args!("{} clock={ahead}", self.devices[number].name));
        // Shown from the next start on: a clock is set while nobody looks.
        self.devices[number].clock.ahead = ahead;
    }
}
