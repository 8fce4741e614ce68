//! ipc-channel's channel of bytes. It has one receiver; its ends travel over one-shot servers of those who open them.

use std::cell::RefCell;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};

use super::Ends;
use crate::Trouble;
use crate::queue::party::say;
use crate::queue::work::{Get, Put};

/// What a party says before the name of its server, for each end.
pub const WANTS_PUT: &str = "put-end";
pub const WANTS_GET: &str = "get-end";

/// A channel whose ends are still here.
pub struct Loose {
    put: IpcBytesSender,
    get: RefCell<Option<IpcBytesReceiver>>,
}

impl Loose {
    pub fn new() -> Result<Loose, Trouble> {
        let (put, get) = bytes_channel()?;
        Ok(Loose { put, get: RefCell::new(Some(get)) })
    }

    /// Sends an end to whoever has opened this server.
    pub fn send_end(&self, wanted: &str, server: &str) -> Result<(), Trouble> {
        if wanted == WANTS_PUT {
            let to = IpcSender::<IpcBytesSender>::connect(server.to_owned()).map_err(Trouble::new)?;
            to.send(self.put.clone()).map_err(Trouble::new)
        } else {
            let to = IpcSender::<IpcBytesReceiver>::connect(server.to_owned()).map_err(Trouble::new)?;
            let get = self.get.take().ok_or_else(|| Trouble::new("a channel has one receiver"))?;
            to.send(get).map_err(Trouble::new)
        }
    }
}

impl Put for IpcBytesSender {
    fn put(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.send(message).map_err(Trouble::new)
    }
}

impl Get for IpcBytesReceiver {
    fn get(&mut self, look: &mut impl FnMut(&[u8])) -> Result<(), Trouble> {
        look(&self.recv().map_err(Trouble::new)?);
        Ok(())
    }
}

pub struct ChannelEnds;

impl Ends for ChannelEnds {
    type Put = IpcBytesSender;
    type Get = IpcBytesReceiver;

    fn put_end(&self, name: &str) -> Result<IpcBytesSender, Trouble> {
        let (server, at) = IpcOneShotServer::<IpcBytesSender>::new()?;
        say(format_args!("{WANTS_PUT} {name} {at}"))?;
        Ok(server.accept().map_err(Trouble::new)?.1)
    }

    fn get_end(&self, name: &str) -> Result<IpcBytesReceiver, Trouble> {
        let (server, at) = IpcOneShotServer::<IpcBytesReceiver>::new()?;
        say(format_args!("{WANTS_GET} {name} {at}"))?;
        Ok(server.accept().map_err(Trouble::new)?.1)
    }
}
