//! A handful of DigitalOcean's regions, sizes and images.

use serde_json::{Value, json};

/// A region.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) slug: &'static str,
    name: &'static str,
    pub(super) is_available: bool,
}

/// A size.
#[derive(Debug)]
pub(super) struct Size {
    pub(super) slug: &'static str,
    pub(super) memory: u32,
    pub(super) vcpus: u32,
    pub(super) disk: u32,
    transfer: f64,
    price_monthly: f64,
    price_hourly: f64,
    description: &'static str,
    /// The regions that have it.
    pub(super) regions: &'static [&'static str],
    pub(super) is_available: bool,
}

/// An image.
#[derive(Debug)]
pub(super) struct Image {
    id: u64,
    pub(super) slug: &'static str,
    name: &'static str,
    distribution: &'static str,
}

/// The regions.
pub(super) const REGIONS: [Region; 5] = [
    region("nyc3", "New York 3", true),
    region("ams3", "Amsterdam 3", true),
    region("fra1", "Frankfurt 1", true),
    region("sgp1", "Singapore 1", true),
    region("nyc2", "New York 2", false),
];

/// Where all sizes but some are.
const EVERYWHERE: &[&str] = &["nyc3", "ams3", "fra1", "sgp1", "nyc2"];

/// The sizes.
pub(super) const SIZES: [Size; 6] = [
    size(
        "s-1vcpu-512mb-10gb",
        (512, 1, 10),
        0.5,
        (4.0, 0.00595),
        &["nyc3", "ams3", "fra1"],
    ),
    size("s-1vcpu-1gb", (1024, 1, 25), 1.0, (6.0, 0.00893), EVERYWHERE),
    size("s-1vcpu-2gb", (2048, 1, 50), 2.0, (12.0, 0.01786), EVERYWHERE),
    size("s-2vcpu-4gb", (4096, 2, 80), 4.0, (24.0, 0.03571), EVERYWHERE),
    size("s-4vcpu-8gb", (8192, 4, 160), 5.0, (48.0, 0.07143), EVERYWHERE),
    Size {
        is_available: false,
        ..size("s-1vcpu-3gb", (3072, 1, 60), 3.0, (15.0, 0.02232), EVERYWHERE)
    },
];

/// The images.
pub(super) const IMAGES: [Image; 3] = [
    image(112_929_454, "ubuntu-22-04-x64", "22.04 (LTS) x64", "Ubuntu"),
    image(155_133_621, "ubuntu-24-04-x64", "24.04 (LTS) x64", "Ubuntu"),
    image(133_532_012, "debian-12-x64", "12 x64", "Debian"),
];

const fn region(slug: &'static str, name: &'static str, is_available: bool) -> Region {
    Region {
        slug,
        name,
        is_available,
    }
}

const fn size(
    slug: &'static str,
    (memory, vcpus, disk): (u32, u32, u32),
    transfer: f64,
    (price_monthly, price_hourly): (f64, f64),
    regions: &'static [&'static str],
) -> Size {
    Size {
        slug,
        memory,
        vcpus,
        disk,
        transfer,
        price_monthly,
        price_hourly,
        description: "Basic",
        regions,
        is_available: true,
    }
}

const fn image(id: u64, slug: &'static str, name: &'static str, distribution: &'static str) -> Image {
    Image {
        id,
        slug,
        name,
        distribution,
    }
}

/// The region of a slug.
pub(super) fn find_region(slug: &str) -> Option<&'static Region> {
    REGIONS.iter().find(|region| region.slug == slug)
}

/// The size of a slug.
pub(super) fn find_size(slug: &str) -> Option<&'static Size> {
    SIZES.iter().find(|size| size.slug == slug)
}

/// The image of a slug or a number.
pub(super) fn find_image(image: &Value) -> Option<&'static Image> {
    IMAGES
        .iter()
        .find(|known| image.as_str() == Some(known.slug) || image.as_u64() == Some(known.id))
}

impl Region {
    /// As the API shows it.
    pub(super) fn show(&self) -> Value {
        let has = |size: &&Size| self.is_available && size.is_available && size.regions.contains(&self.slug);
        let sizes = SIZES.iter().filter(has);
        json!({
            "name": self.name,
            "slug": self.slug,
            "features": ["backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"],
            "available": self.is_available,
            "sizes": sizes.map(|size| size.slug).collect::<Vec<_>>(),
        })
    }
}

impl Size {
    /// As the API shows it.
    pub(super) fn show(&self) -> Value {
        json!({
            "slug": self.slug,
            "memory": self.memory,
            "vcpus": self.vcpus,
            "disk": self.disk,
            "transfer": self.transfer,
            "price_monthly": self.price_monthly,
            "price_hourly": self.price_hourly,
            "regions": self.regions,
            "available": self.is_available,
            "description": self.description,
            "disk_info": [{ "type": "local", "size": { "amount": self.disk, "unit": "gib" } }],
        })
    }
}

impl Image {
    /// As the API shows it.
    pub(super) fn show(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "distribution": self.distribution,
            "slug": self.slug,
            "public": true,
            "regions": REGIONS.iter().map(|region| region.slug).collect::<Vec<_>>(),
            "created_at": "2024-05-08T17:21:40Z",
            "type": "base",
            "min_disk_size": 7,
            "size_gigabytes": 0.65,
            "description": format!("{} {}", self.distribution, self.name),
            "tags": [],
            "status": "available",
            "error_message": "",
        })
    }
}
