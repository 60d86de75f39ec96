//! Awkward strings.

/// A small generator of fixed sequence (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Text to train small tokenizers on.
pub fn training() -> Vec<String> {
    let held = std::fs::read_to_string(crate::models::warehouse_dir().join("heldout.txt")).expect("text");
    let mut lines: Vec<String> = held.lines().take(1500).map(|l| format!("{l}\n")).collect();
    for i in 0..200 {
        lines.push(format!("Ünïcödé naïve {i}00{i} 日本語のテキスト 한국어 текст 😀😃 don't DON'T we'll   \n\n\t x={i};\r\n"));
    }
    lines
}

/// Hand-picked strings.
pub const AWKWARD: &[&str] = &[
    "",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n\n",
    " \n \n ",
    "\r\n\r\n",
    "\t\t x",
    "a b",
    "a  b",
    "a   b",
    "a \n  b",
    "x  ",
    "x \n",
    "  x",
    "\u{a0}\u{a0}x\u{3000}y\u{2003} z",
    "\u{85}\u{2028}\u{2029}\u{b}\u{c}x",
    "\u{1c}\u{1d}\u{1e}\u{1f} \u{1c}x",
    "\u{0}\u{1}\u{2}\u{7f}\u{80}\u{9f}",
    "\u{feff}bom\u{200b}zero\u{200d}joiner\u{ad}",
    "don't DON'T Don'T we'll WE'LL I've i'VE they'Re 'd 'D 's 'S'ſ it'ſ 'm'M 'lL 're're",
    "''s '''t can''t ’s it’s",
    "1234567890",
    "1 22 333 4444 55555 666666",
    "x1y22z333",
    "٣٤٥ ४५६ ⅷ ½¾ ²³ ① 一二三 〇",
    "3.14159e-10, 1,000,000.00 $5 €6 #7",
    "日本語のテキスト、中文文本。한국어 텍스트!",
    "e\u{301}e\u{300}\u{323} a\u{323}\u{307} \u{1e0a}\u{323} \u{212b} \u{2126} \u{fb01} \u{958} \u{344}",
    "\u{1100}\u{1161}\u{11a8} \u{ac00}\u{11a8} \u{1112}\u{1175}",
    "cafe\u{301} caf\u{e9} CAFE\u{301}",
    "\u{915}\u{93c}\u{94d}\u{937} \u{9c7}\u{9be} \u{b47}\u{b56}",
    "नमस्ते สวัสดี שָׁלוֹם مَرْحَبًا Ελληνικά русский",
    "😀😃👨‍👩‍👧‍👦🏳️‍🌈👍🏽🇩🇪",
    "\u{10ffff}\u{e000}\u{fffd}\u{fffe}\u{1d400}\u{20000}",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "fn main() {\n    println!(\"{}\", x_y + 1);\n}\n\n\n// end\n",
    "a_b-c.d/e\\f|g~h`i!j@k#l$m%n^o&p*q(r)s",
    "...!!!???---===+++***",
    "!\n\n!\r\r!\n \n!",
    "http://example.com/path?query=1&b=%20#frag",
    "<|end|> <|endoftext|><mask>  <mask>x <sep>  y  <both>  z <sep>\n<sep>\n\n<sep>",
    "word words word sword word's word_ _word word, \u{e9}word worde\u{301} Norm Norma Normal xNorma Norma!",
    "<think>\n\n</think>\n\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>xyz<repo_name>",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>",
    "<|end<|end|>|> <|<|endoftext|> <|pad|><|begin|><|system|><|user|><|assistant|>",
    "<｜begin▁of▁sentence｜>你好<｜User｜>123456",
    "    indented    text    with    runs     of      spaces       ",
    "\u{2581}",
    "\u{2581}\u{2581} \u{2581}a \u{2581}",
    " \u{2581}marks\u{2581} and  spaces \u{2581}",
    "<0x41><0x0A>\n<0xE6><0x97><0xA5> <0xFF>",
    "two words two  words",
    "\u{1f469}\u{200d}\u{1f680}\u{fe0f}\u{20e3}\u{1f1ef}\u{1f1f5}",
    "31415926535897932384626433832795028841971693993751058209749445923078164062862",
    "ſ日ſſ ü<unk>ü",
    "<s> a </s>b<s></s>",
    "<start_of_turn>user\n\n\nhi<end_of_turn>\n",
    "MiXeD CaSe wOrDs ALLCAPS lowercase CamelCaseIdentifier snake_case_identifier",
];

/// Random strings over an alphabet of awkward pieces and over all of Unicode.
pub fn random(count: usize) -> Vec<String> {
    let pieces = [
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "'s",
        "'LL",
        "'",
        "a",
        "the",
        "Z",
        "é",
        "e\u{301}",
        "\u{323}",
        "7",
        "42",
        "٣",
        "日本",
        "😀",
        "_",
        "!",
        "<|end|>",
        "<|endoftext|>",
        "<mask>",
        "<sep>",
        "<both>",
        "word",
        "Norm",
        "<|im_end|>",
        "\u{3000}",
        "\u{0}",
        "\u{2581}",
        "<0x41>",
        "</s>",
        "-",
        "ſ",
        "\u{1100}\u{1161}",
        "한",
    ];
    let mut random = Random(7);
    let mut texts = Vec::new();
    for i in 0..count {
        let mut text = String::new();
        for _ in 0..random.below(40) {
            if i % 3 == 0 {
                let limit = [0x80, 0x800, 0x3000, 0x11_0000][random.below(4)];
                text.extend(char::from_u32(random.below(limit) as u32));
            } else {
                text += pieces[random.below(pieces.len())];
            }
        }
        texts.push(text);
    }
    texts
}
