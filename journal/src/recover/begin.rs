//! A new generation: a base of what was recovered, and empty streams.

use std::io::ErrorKind;

use m2_core::ledger::Words;
use m2_core::{AccountId, AccountImage, ShardId};

use super::Recovered;
use super::found::generations;
use crate::error::Error;
use crate::image::{self, Account, Base, ConfiguredLimits};
use crate::names::{self, TEMPORARY};
use crate::slot;
use crate::storage::Storage;
use crate::writer::{Settings, Writer};

/// An account of the new generation, as it is configured now. Its number is its place in the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Which shard owns it from now on.
    pub shard: ShardId,
    /// At most 255 bytes.
    pub name: String,
    /// At most 255 bytes.
    pub asset_code: String,
    /// Of the asset.
    pub asset_scale: u8,
    /// As the configuration names them. An operator's own stay in force as long as these stay.
    pub limits: ConfiguredLimits,
}

/// Writes down everything that was recovered as the base of a new generation, and gives the writer
/// of its streams. `accounts` begins with all that were recovered, each under its number; those
/// behind them are new and have nothing owed.
///
/// A first generation makes the journal the one that `recovered.journal` names: a number that no other
/// journal has, as spill files are told apart by it.
///
/// It is there whole or not at all: whenever the power goes, the next recovery finds the generation
/// before or this one.
///
/// # Errors
///
/// When the disk cannot be written.
///
/// # Panics
///
/// If an account that was recovered is missing, or there are too many accounts or shards: both are
/// checked when the configuration is read.
pub fn begin_generation(
    storage: &mut impl Storage,
    recovered: &Recovered,
    accounts: &[Entry],
    shards: usize,
    settings: Settings,
) -> Result<Writer, Error> {
    assert!(accounts.len() >= recovered.accounts.len(), "numbers of accounts are never given up");
    let base = Base {
        journal: recovered.journal,
        generation: recovered.generation + 1,
        shards,
        ends: recovered.ends.clone(),
        accounts: accounts
            .iter()
            .enumerate()
            .map(|(n, entry)| account(recovered, n, entry))
            .collect(),
        keys: recovered.keys.clone(),
    };
    let (bytes, hash) = image::encode_base(&base);
    let folder = names::folder(base.generation);
    let temporary = format!("{folder}{TEMPORARY}");
    clear(storage, &temporary)?;
    storage.create_folder(&temporary).map_err(Error::io(&temporary))?;
    let write = |storage: &mut _, name: &str, bytes: &[u8]| {
        let path = name.replacen(&folder, &temporary, 1);
        write_down(storage, &path, bytes).map_err(Error::io(&path))
    };
    write(storage, &names::base(base.generation), &bytes)?;
    for stream in 0..shards {
        let stream = ShardId(u16::try_from(stream).expect("SHARDS_MAX is less"));
        let mut file = vec![0; slot::FILE_LEN];
        for index in 0..2 {
            let slot = slot::encode(base.generation, stream, 0);
            let at = usize::try_from(slot::offset(index)).expect("it is within the file");
            file[at..at + slot.len()].copy_from_slice(&slot);
        }
        write(storage, &names::flushed(base.generation, stream), &file)?;
    }
    storage.sync_folder(&temporary).map_err(Error::io(&temporary))?;
    storage.rename(&temporary, &folder).map_err(Error::io(&folder))?;
    storage.sync_folder("").map_err(Error::io(""))?;
    let mut writer = Writer::new(base.generation, shards, hash, settings);
    writer.set_owners(accounts.iter().map(|entry| entry.shard).collect());
    for generation in generations(storage)? {
        if generation < base.generation {
            retire(storage, &mut writer, generation)?;
        }
    }
    Ok(writer)
}

/// Gives the files of an earlier generation to be retired, and their folder unless something in it is none
/// of ours: that stays, and the folder with it.
fn retire(storage: &mut impl Storage, writer: &mut Writer, generation: u32) -> Result<(), Error> {
    let folder = names::folder(generation);
    let mut other = None;
    for entry in storage.list(&folder).map_err(Error::io(&folder))? {
        let name = entry.name.strip_suffix(TEMPORARY).unwrap_or(&entry.name);
        if !entry.is_folder && names::is_file(generation, name) {
            writer.retire(format!("{folder}/{}", entry.name));
        } else {
            other = other.or(Some(entry.name));
        }
    }
    match other {
        None => writer.retire_folder(folder),
        Some(name) => writer.stays(format!("{folder} stays: {name} in it is not the journal's")),
    }
    Ok(())
}

fn account(recovered: &Recovered, number: usize, entry: &Entry) -> Account {
    let Entry { shard, name, asset_code, asset_scale, limits } = entry.clone();
    let was = recovered.accounts.get(number);
    let words = was.map_or_else(Words::default, |was| was.image.words);
    let kept = was.filter(|was| was.configured == limits).map(|was| was.image);
    let ConfiguredLimits { balance_max, payable_max } = kept.map_or(limits, |image| {
        ConfiguredLimits { balance_max: image.balance_max, payable_max: image.payable_max }
    });
    let account = AccountId(u32::try_from(number).expect("ACCOUNTS_MAX is less"));
    let image = AccountImage { account, words, balance_max, payable_max };
    Account { shard, name, asset_code, asset_scale, configured: limits, image }
}

/// Removes what an attempt before this one left: a folder of files, or whatever else has the name. What
/// else is in it is not ours to remove.
fn clear(storage: &mut impl Storage, folder: &str) -> Result<(), Error> {
    let beside = match storage.list("") {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        listed => listed.map_err(Error::io(""))?,
    };
    match beside.iter().find(|entry| entry.name == folder) {
        None => return Ok(()),
        Some(entry) if !entry.is_folder => {
            return storage.remove(folder).map_err(Error::io(folder));
        }
        Some(_) => {}
    }
    for entry in storage.list(folder).map_err(Error::io(folder))? {
        let path = format!("{folder}/{}", entry.name);
        if entry.is_folder {
            return Err(Error::wrong_kind(&path, true));
        }
        storage.remove(&path).map_err(Error::io(&path))?;
    }
    storage.remove_folder(folder).map_err(Error::io(folder))
}

fn write_down(storage: &mut impl Storage, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    storage.write_at(path, 0, bytes)?;
    storage.sync_data(path)
}
