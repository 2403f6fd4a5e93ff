//! A door, as a small file: the locker's bolt moves it, the sensor's contact feels it. Writes replace the file whole, so
//! that a reader never sees half a door.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::DeviceError;

/// What is wrong with the door, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It opens when its bolt is drawn.
    #[default]
    Normal,
    /// It does not open, whatever the bolt does.
    Stuck,
}

/// How the door is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is wrong with it.
    pub mode: Mode,
    /// Whether it stands open.
    pub open: bool,
    /// How often it has moved.
    pub moves: u64,
}

/// A door by its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    path: PathBuf,
}

impl Door {
    /// Hangs a closed door.
    ///
    /// # Errors
    /// [`DeviceError::Door`] when the file cannot be written.
    pub fn create(path: &Path, mode: Mode) -> Result<Self, DeviceError> {
        let door = Self { path: path.into() };
        door.write(State { mode, open: false, moves: 0 }).map_err(|e| door.broken(e))?;
        Ok(door)
    }

    /// The door that hangs there.
    ///
    /// # Errors
    /// [`DeviceError::Door`] when there is none.
    pub fn at(path: &Path) -> Result<Self, DeviceError> {
        let door = Self { path: path.into() };
        door.state()?;
        Ok(door)
    }

    /// How it is now.
    ///
    /// # Errors
    /// [`DeviceError::Door`] when the file is gone or holds no door.
    pub fn state(&self) -> Result<State, DeviceError> {
        let bytes = fs::read(&self.path).map_err(|e| self.broken(e))?;
        serde_json::from_slice(&bytes).map_err(|e| self.broken(e.into()))
    }

    /// Draws or shoots the bolt; the door follows if it can.
    ///
    /// # Errors
    /// [`DeviceError::Door`].
    pub fn bolt(&self, drawn: bool) -> Result<State, DeviceError> {
        let mut state = self.state()?;
        let open = drawn && state.mode == Mode::Normal;
        if open != state.open {
            (state.open, state.moves) = (open, state.moves + 1);
            self.write(state).map_err(|e| self.broken(e))?;
        }
        Ok(state)
    }

    fn write(&self, state: State) -> io::Result<()> {
        let next = self.path.with_extension("next");
        fs::write(&next, serde_json::to_vec(&state)?)?;
        fs::rename(&next, &self.path)
    }

    fn broken(&self, source: io::Error) -> DeviceError {
        DeviceError::Door { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_follows_its_bolt_unless_it_is_stuck() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("door.json");
        assert!(Door::at(&path).is_err(), "there is none yet");
        for (mode, open, moves) in [(Mode::Normal, true, 1), (Mode::Stuck, false, 0)] {
            Door::create(&path, mode).expect("a door");
            let door = Door::at(&path).expect("the same door");
            assert_eq!(door.bolt(true).expect("it moves"), State { mode, open, moves });
            assert_eq!(door.bolt(true).expect("it stays").moves, moves);
            assert!(!door.bolt(false).expect("it closes").open);
        }
    }
}
