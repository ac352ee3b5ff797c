//! Droplets: what one is made of, and its life.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::catalog::{self, Image, Size};
use super::refusal::Refusal;

/// The longest user data.
const USER_DATA_MAX_BYTES: usize = 64 * 1024;

/// The longest name and the longest tag.
const NAME_MAX_CHARS: usize = 255;

/// What may be asked for a droplet and makes no difference here.
const FLAGS: [&str; 5] = [
    "backups",
    "ipv6",
    "monitoring",
    "with_droplet_agent",
    "public_networking",
];

/// When a droplet becomes active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// So long after it was made.
    After(Duration),
    /// When it has been looked at so often.
    AfterLooks(u32),
    /// Not by itself.
    Never,
}

/// Where a droplet is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is being made, and has no address.
    New,
    /// It runs.
    Active,
    /// It is switched off.
    Off,
}

impl Status {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Off => "off",
        }
    }
}

/// A droplet, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Droplet {
    /// Its number.
    pub id: u64,
    /// Its hostname.
    pub name: String,
    /// The slug of its region.
    pub region: String,
    /// The slug of its size.
    pub size: String,
    /// The slug of its image.
    pub image: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The keys that may log in, as they were asked for.
    pub ssh_keys: Vec<String>,
    /// What cloud-init finds at the first boot.
    pub user_data: String,
    /// Where it is in its life.
    pub status: Status,
    /// Its address, once it has been active.
    pub public_ipv4: Option<Ipv4Addr>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) region: &'static str,
    size: &'static Size,
    image: &'static Image,
    pub(super) tags: Vec<String>,
    ssh_keys: Vec<String>,
    user_data: String,
}

/// A droplet with what the API does not show.
#[derive(Debug)]
pub(super) struct Machine {
    droplet: Droplet,
    created_at: String,
    born: Instant,
    boot: Boot,
    looks: u32,
    /// How long no list has it.
    unlisted: Duration,
}

impl Wanted {
    /// Reads the body of a creation, and refuses what DigitalOcean refuses.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let body: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| Refusal::malformed("The request body is not a JSON object."))?;
        let known = ["name", "region", "size", "image", "tags", "ssh_keys", "user_data"];
        for (field, value) in &body {
            let is_flag = FLAGS.contains(&field.as_str()) && value.is_boolean();
            if !known.contains(&field.as_str()) && !is_flag {
                return Err(Refusal::unsupported(&format!("'{field}' of a new droplet")));
            }
        }

        let name = text(&body, "name")?.ok_or_else(|| Refusal::malformed("Name can't be blank"))?;
        if !is_hostname(name) {
            return Err(Refusal::malformed(
                "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)",
            ));
        }
        let invalid =
            |what: &str| Refusal::unprocessable(format!("You specified an invalid {what} for Droplet creation."));
        let region = text(&body, "region")?
            .and_then(catalog::find_region)
            .ok_or_else(|| invalid("region"))?;
        let size = text(&body, "size")?
            .and_then(catalog::find_size)
            .ok_or_else(|| invalid("size"))?;
        let image = body
            .get("image")
            .and_then(catalog::find_image)
            .ok_or_else(|| invalid("image"))?;
        if !region.is_available {
            return Err(Refusal::unprocessable("Region is not available"));
        }
        if !size.is_available || !size.regions.contains(&region.slug) {
            return Err(Refusal::unprocessable("Size is not available in this region."));
        }

        let tags = list(&body, "tags", Value::as_str)?.into_iter().map(str::to_owned);
        let tags: Vec<String> = tags.collect();
        if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
            return Err(Refusal::malformed(format!("Tag name '{tag}' is invalid")));
        }
        let ssh_keys = list(&body, "ssh_keys", |key| {
            Some(key.as_str().map_or_else(|| key.to_string(), str::to_owned))
        })?;
        if let Some(key) = ssh_keys.iter().find(|key| !is_ssh_key(key)) {
            return Err(Refusal::malformed(format!(
                "{key} are invalid key identifiers for Droplet creation."
            )));
        }
        let user_data = text(&body, "user_data")?.unwrap_or_default();
        if user_data.len() > USER_DATA_MAX_BYTES {
            return Err(Refusal::malformed("User data must be 64 KiB or less"));
        }
        Ok(Self {
            name: name.to_owned(),
            region: region.slug,
            size,
            image,
            tags,
            ssh_keys,
            user_data: user_data.to_owned(),
        })
    }

    /// What somebody else's droplet is like.
    pub(super) fn foreign(name: &str, tags: &[&str]) -> Self {
        let [region, ..] = &catalog::REGIONS;
        let [size, ..] = &catalog::SIZES;
        let [image, ..] = &catalog::IMAGES;
        Self {
            name: name.to_owned(),
            region: region.slug,
            size,
            image,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ssh_keys: Vec::new(),
            user_data: String::new(),
        }
    }
}

impl Machine {
    /// A machine that is made now.
    pub(super) fn new(id: u64, wanted: Wanted, boot: Boot, unlisted: Duration) -> Self {
        let droplet = Droplet {
            id,
            name: wanted.name,
            region: wanted.region.to_owned(),
            size: wanted.size.slug.to_owned(),
            image: wanted.image.slug.to_owned(),
            tags: wanted.tags,
            ssh_keys: wanted.ssh_keys,
            user_data: wanted.user_data,
            status: Status::New,
            public_ipv4: None,
        };
        Self {
            droplet,
            created_at: super::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            born: Instant::now(),
            boot,
            looks: 0,
            unlisted,
        }
    }

    /// As it is now.
    pub(super) fn droplet(&mut self) -> &Droplet {
        let is_up = match self.boot {
            Boot::After(delay) => self.born.elapsed() >= delay,
            Boot::AfterLooks(looks) => self.looks >= looks,
            Boot::Never => false,
        };
        if is_up && self.droplet.status == Status::New {
            self.set_status(Status::Active);
        }
        &self.droplet
    }

    /// Moves it on in its life.
    pub(super) fn set_status(&mut self, status: Status) {
        self.droplet.status = status;
        if status == Status::Active {
            self.droplet.public_ipv4 = self.droplet.public_ipv4.or_else(|| Some(address(self.droplet.id)));
        }
    }

    /// Whether a list has it.
    pub(super) fn is_listed(&self) -> bool {
        self.born.elapsed() >= self.unlisted
    }

    /// Lets lists have it.
    pub(super) fn list(&mut self) {
        self.unlisted = Duration::ZERO;
    }

    /// What a fault may be about.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.droplet.name, self.droplet.tags.join(" "))
    }

    /// Notes that it is being looked at.
    pub(super) fn look(&mut self) {
        self.looks = self.looks.saturating_add(1);
    }

    /// As the API shows it in the answer to its creation: whatever comes next, it is new there.
    pub(super) fn show_new(&mut self) -> Value {
        let boot = std::mem::replace(&mut self.boot, Boot::Never);
        let shown = self.show();
        self.boot = boot;
        shown
    }

    /// As the API shows it.
    pub(super) fn show(&mut self) -> Value {
        let created_at = self.created_at.clone();
        let droplet = self.droplet();
        let size = catalog::find_size(&droplet.size);
        let networks = droplet.public_ipv4.map(|address| {
            json!([
                { "ip_address": "10.108.0.2", "netmask": "255.255.240.0", "gateway": "nil", "type": "private" },
                { "ip_address": address, "netmask": "255.254.0.0", "gateway": "198.18.0.1", "type": "public" },
            ])
        });
        json!({
            "id": droplet.id,
            "name": droplet.name,
            "memory": size.map(|size| size.memory),
            "vcpus": size.map(|size| size.vcpus),
            "disk": size.map(|size| size.disk),
            "locked": droplet.status == Status::New,
            "status": droplet.status.as_str(),
            "kernel": null,
            "created_at": created_at,
            "features": ["droplet_agent", "private_networking"],
            "backup_ids": [],
            "next_backup_window": null,
            "snapshot_ids": [],
            "image": catalog::find_image(&json!(droplet.image)).map(Image::show),
            "volume_ids": [],
            "size": size.map(Size::show),
            "size_slug": droplet.size,
            "networks": { "v4": networks.unwrap_or_else(|| json!([])), "v6": [] },
            "region": catalog::find_region(&droplet.region).map(catalog::Region::show),
            "tags": droplet.tags,
            "vpc_uuid": "760e09ef-dc84-11e8-981e-3cfdfeaae000",
        })
    }
}

/// An address of the range for benchmarks (RFC 2544), which leads nowhere.
fn address(id: u64) -> Ipv4Addr {
    let [.., high, middle, low] = id.to_be_bytes();
    Ipv4Addr::new(198, 18 | (high & 1), middle, low)
}

/// A text that may be missing.
fn text<'a>(body: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty()).map(String::as_str)),
        Some(_) => Err(Refusal::malformed(format!("'{field}' must be a string"))),
    }
}

/// A list that may be missing.
fn list<'a, T>(
    body: &'a Map<String, Value>,
    field: &str,
    read: impl Fn(&'a Value) -> Option<T>,
) -> Result<Vec<T>, Refusal> {
    let values = match body.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(values) => values.as_array(),
    };
    values
        .and_then(|values| values.iter().map(read).collect())
        .ok_or_else(|| Refusal::malformed(format!("'{field}' must be a list of strings")))
}

/// The documented pattern: `^[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]$`.
fn is_hostname(name: &str) -> bool {
    name.len() <= NAME_MAX_CHARS
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && name.bytes().last().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// The documented pattern: `^[a-zA-Z0-9_\-\:]+$`.
pub(super) fn is_tag(tag: &str) -> bool {
    (1..=NAME_MAX_CHARS).contains(&tag.len())
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':'))
}

/// A number, or the MD5 fingerprint of a key.
fn is_ssh_key(key: &str) -> bool {
    let is_number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    let pairs: Vec<_> = key.split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number || (pairs.len() == 16 && pairs.iter().all(is_pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_are_of_the_documented_characters() {
        for (name, hostname, tag) in [
            ("toolbox-1", true, true),
            ("a.example", true, false),
            ("agentopia:tb:1", false, true),
            ("a_b", false, true),
            ("ends-", false, true),
            ("", false, false),
            ("two words", false, false),
            ("é", false, false),
            (&"a".repeat(255), true, true),
            (&"a".repeat(256), false, false),
        ] {
            assert_eq!((is_hostname(name), is_tag(name)), (hostname, tag), "{name}");
        }
    }

    #[test]
    fn keys_are_numbers_or_fingerprints() {
        for (key, expected) in [
            ("289794", true),
            ("3b:16:e4:bf:8b:00:8b:b8:59:8c:a9:d3:f0:19:fa:45", true),
            ("SHA256:abc", false),
            ("3b:16", false),
            ("", false),
        ] {
            assert_eq!(is_ssh_key(key), expected, "{key}");
        }
    }

    #[test]
    fn a_machine_lives() {
        let wanted = Wanted::foreign("other", &["web"]);
        let mut machine = Machine::new(412_000_001, wanted, Boot::AfterLooks(2), Duration::ZERO);

        let statuses: Vec<_> = (0..3)
            .map(|_| {
                let status = machine.droplet().status;
                machine.look();
                status
            })
            .collect();

        assert_eq!(statuses, [Status::New, Status::New, Status::Active]);
        assert_eq!(machine.droplet().public_ipv4, Some(Ipv4Addr::new(198, 18, 159, 1)));
    }
}
