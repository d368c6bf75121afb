//! Cuts of power at every step, twice over, and in long histories: the board boots with the old model or the
//! new one, whole, and the update can be finished.

use super::super::Store;
use super::super::StoreError;
use super::super::sim::{SimError, SimFlash};
use super::{Signed, image, open, send, signed, update};
use fastrand::Rng;

/// Boots, and checks that one of these runs: `None` is the factory model.
fn boot<const W: usize, const E: usize>(
    flash: SimFlash<W, E>,
    allowed: &[Option<&Signed>],
) -> Store<SimFlash<W, E>> {
    let mut store = open(flash);
    let running = image(&mut store);
    let found = allowed.iter().find(|model| {
        let version = model.map_or(0, |model| model.block.version());
        store.version() == version && running == model.map(|model| model.image.clone())
    });
    assert!(found.is_some(), "version {} runs", store.version());
    assert_eq!(store.slots.flash.misused(), None);
    store
}

/// The steps of a whole update from `base` to `model`.
fn steps<const W: usize, const E: usize>(base: &Store<SimFlash<W, E>>, model: &Signed) -> u64 {
    let mut store = base.clone();
    let before = store.slots.flash.steps();
    update(&mut store, model).unwrap();
    store.slots.flash.steps() - before
}

/// A board on which these models have run, one after the other.
fn history<const W: usize, const E: usize>(
    capacity: usize,
    models: &[&Signed],
) -> Store<SimFlash<W, E>> {
    let mut store = open(SimFlash::new(capacity));
    for model in models {
        update(&mut store, model).unwrap();
    }
    open(store.into_flash())
}

/// Updates with a cut after `steps`; gives the flash with its power on again.
fn cut<const W: usize, const E: usize>(
    mut store: Store<SimFlash<W, E>>,
    model: &Signed,
    steps: u64,
    seed: u64,
) -> SimFlash<W, E> {
    store.slots.flash.cut_after(steps, seed);
    let result = update(&mut store, model);
    assert!(
        result.is_ok() || matches!(result, Err(StoreError::Flash(_))),
        "{result:?}"
    );
    let mut flash = store.into_flash();
    flash.power_on();
    flash
}

fn every_cut<const W: usize, const E: usize>(capacity: usize, length: usize, stride: usize) {
    let models = [1, 2, 3].map(|version| signed(version, length + version as usize * 9, 0));
    let [first, second, third] = &models;
    let bases = [
        (vec![], first),
        (vec![first], second),
        (vec![first, second], third),
    ];
    for (before, model) in bases {
        let base = history::<W, E>(capacity, &before);
        let all = steps(&base, model);
        assert!(all as usize > length);
        let old = before.last().copied();
        for at in (0..=all).step_by(stride) {
            let flash = cut(base.clone(), model, at, at * 7 + 1);
            let mut store = boot(flash, &[old, Some(model)]);
            if at == all {
                assert_eq!(store.version(), model.block.version());
            } else if store.version() != model.block.version() {
                update(&mut store, model).unwrap();
                boot(store.into_flash(), &[Some(model)]);
            }
        }
    }
}

#[test]
fn every_cut_of_an_update_in_words_of_four_bytes() {
    every_cut::<4, 512>(8 * 1024, 700, 1);
}

#[test]
fn every_cut_of_an_update_in_bytes() {
    every_cut::<1, 256>(4 * 1024, 300, 3);
}

#[test]
fn every_cut_of_an_update_in_words_of_thirty_two_bytes() {
    every_cut::<32, 1024>(8 * 1024, 700, 3);
}

/// The newest model is damaged, so the earlier one runs, and the host sends the newest again. Its header holds the
/// floor and the highest version, and is erased on the way.
fn every_cut_of_a_repair<const W: usize, const E: usize>(stride: usize) {
    let (first, second) = (signed(1, 700, 0), signed(5, 600, 1));
    let mut base = history::<W, E>(8 * 1024, &[&first, &second]);
    let at = base.running().unwrap().start as usize + 77;
    let mut flash = base.into_flash();
    flash.bytes_mut()[at] ^= 8;
    base = open(flash);
    assert_eq!(base.version(), 1);
    let mut store = base.clone();
    send(&mut store, &second, 200).unwrap();
    assert_eq!(store.candidate(5), Err(StoreError::Digest));
    let all = steps(&base, &second);
    for at in (0..=all).step_by(stride) {
        let flash = cut(base.clone(), &second, at, at * 7 + 1);
        let mut store = boot(flash, &[Some(&first), Some(&second)]);
        let repaired = store.version() == 5;
        assert!(repaired || at < all);
        let state = store.state();
        let minimum = if repaired { 6 } else { 5 };
        assert_eq!((state.floor, state.minimum), (1, minimum), "cut {at}");
        if !repaired {
            update(&mut store, &second).unwrap();
            store = boot(store.into_flash(), &[Some(&second)]);
        }
        let state = store.state();
        assert_eq!((state.floor, state.minimum), (1, 6), "cut {at}");
        assert_eq!(store.earlier().unwrap().version, 1);
    }
}

#[test]
fn every_cut_while_a_damaged_model_is_sent_again() {
    every_cut_of_a_repair::<4, 512>(1);
    every_cut_of_a_repair::<1, 256>(7);
    every_cut_of_a_repair::<32, 1024>(7);
}

#[test]
fn ten_thousand_double_cuts() {
    let models = [5, 6, 9].map(|version| signed(version, 500 + version as usize * 13, 0));
    let [first, second, third] = &models;
    let base = history::<4, 512>(8 * 1024, &[first, second]);
    let all = steps(&base, third);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let base = &base;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(thread + 11);
                for round in 0..10_000_u64.div_ceil(threads) {
                    let flash = cut(base.clone(), third, rng.u64(..all), round);
                    let store = boot(flash, &[Some(second), Some(third)]);
                    if store.version() == 9 {
                        continue;
                    }
                    // What is left of the update is at most all of it.
                    let flash = cut(store, third, rng.u64(..all), !round);
                    let mut store = boot(flash, &[Some(second), Some(third)]);
                    if round % 16 == 0 && store.version() != 9 {
                        update(&mut store, third).unwrap();
                        boot(store.into_flash(), &[Some(third)]);
                    }
                }
            });
        }
    });
}

/// Updates, going back, and cuts, in any order.
#[test]
fn long_histories_with_cuts() {
    for seed in 1..40 {
        let mut rng = Rng::with_seed(seed * 977);
        let mut flash = SimFlash::<4, 256>::new(6 * 1024);
        let mut known: Vec<Signed> = Vec::new();
        let mut current: Option<Signed> = None;
        for round in 0..40u32 {
            let mut store = open(flash);
            let cut = rng.u8(..3) == 0;
            let next: Option<Signed>;
            let outcome;
            if rng.u8(..4) == 0 {
                let Ok(earlier) = store.earlier() else {
                    flash = store.into_flash();
                    continue;
                };
                let version = store.version_of(&earlier);
                next = known.iter().find(|m| m.block.version() == version).cloned();
                if cut {
                    store.slots.flash.cut_after(rng.u64(..70), u64::from(round));
                }
                outcome = store.go_back(earlier);
            } else {
                let version = store.state().minimum + rng.u32(..2);
                let model = known.iter().find(|m| m.block.version() == version).cloned();
                let length = 100 + rng.usize(..900);
                let model = model.unwrap_or_else(|| signed(version, length, 0));
                known.retain(|m| m.block.version() != version);
                known.push(model.clone());
                if cut {
                    let steps = rng.u64(..2 * model.image.len() as u64 + 800);
                    store.slots.flash.cut_after(steps, u64::from(round));
                }
                outcome = update(&mut store, &model);
                next = Some(model);
            }
            assert!(
                cut || outcome.is_ok(),
                "{outcome:?} in round {round} of {seed}"
            );
            flash = store.into_flash();
            let off = flash.is_off();
            flash.power_on();
            let mut allowed = vec![next.as_ref()];
            if off {
                allowed.push(current.as_ref());
            }
            let store = boot(flash, &allowed);
            let version = store.version();
            current = known.iter().find(|m| m.block.version() == version).cloned();
            flash = store.into_flash();
        }
    }
}

/// What the tests rely on: the flash is as strict as a real one, and cuts leave traces.
#[test]
fn the_simulated_flash_is_strict() {
    use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
    let mut flash = SimFlash::<4, 64>::new(128);
    flash.write(4, &[1, 2, 3, 4]).unwrap();
    assert_eq!(flash.write(4, &[0; 4]), Err(SimError::NotErased { at: 4 }));
    assert!(flash.write(6, &[0; 4]).is_err() && flash.erase(4, 64).is_err());
    flash.erase(0, 64).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let mut flash = flash.clone();
        flash.cut_after(6, seed);
        assert_eq!(flash.write(0, &[0x0f; 8]), Err(SimError::PowerLost));
        assert_eq!(flash.read(0, &mut [0]), Err(SimError::PowerLost));
        flash.power_on();
        let mut bytes = [0; 12];
        flash.read(0, &mut bytes).unwrap();
        assert_eq!(bytes[..6], [0x0f; 6]);
        assert!(bytes[6..8].iter().all(|byte| byte & 0x0f == 0x0f));
        assert_eq!(bytes[8..], [0xff; 4]);
        kinds.insert(bytes);
    }
    assert!(kinds.len() > 20);
}
