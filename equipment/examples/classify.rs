//! Classifies one wafer map: on a board (`classify /dev/ttyACM0 map.csv`), or on this machine with a model file
//! instead of a port (`classify model.lw map.csv`).

use std::error::Error;
use std::path::Path;

use lightwafer_equipment::{Board, Local, Report};
use lightwafer_maps::Wafer;

type Classify = Box<dyn FnMut(&Wafer) -> Result<Report, Box<dyn Error>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, file] = arguments.as_slice() else {
        return Err("usage: classify (PORT | MODEL.lw) (MAP.csv | MAPS.npz)".into());
    };
    let mut classify: Classify = if place.ends_with(".lw") {
        let local = Local::load(place)?;
        Box::new(move |wafer| Ok(local.classify(&wafer.map())?))
    } else {
        let mut board = Board::open(place)?;
        println!(
            "{} with model {}",
            board.facts().board,
            board.facts().model.name
        );
        Box::new(move |wafer| Ok(board.classify(&wafer.map())?))
    };
    for wafer in lightwafer_maps::read(Path::new(file))? {
        let report = classify(&wafer)?;
        print!(
            "map {}: {} failing dies in {} ",
            wafer.position,
            report.mask_dies,
            report.class.label()
        );
        for (class, score) in report.ranking().into_iter().take(3) {
            print!(" {} {:.1} %", class.label(), 100.0 * score);
        }
        println!();
    }
    Ok(())
}
