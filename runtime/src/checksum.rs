//! The checksum of frames, images and maps.

/// The CRC-32 of the whole project: [ISO-HDLC](https://reveng.sourceforge.io/crc-catalogue/all.htm), as in
/// Ethernet, zip and PNG.
pub fn crc32(bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32, crc::Table<1>> =
        crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}
