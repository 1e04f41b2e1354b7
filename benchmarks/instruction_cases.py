"""Texts that follow an instruction and texts that do not, for `verifier_accuracy.py`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from math_cases import Case

from hf_treecot.base import Problem


SENTENCE = "The old garden by the river is quiet in the evening"
TEXTS = {
    "de": "Der alte Garten am Fluss ist am Abend sehr ruhig und schön, und die Kinder gehen gern dorthin.",
    "en": "The old garden by the river is very quiet in the evening, and the children like to go there.",
    "es": "El viejo jardín junto al río está muy tranquilo por la noche y los niños van allí con gusto.",
    "fr": "Le vieux jardin au bord de la rivière est très calme le soir et les enfants y vont volontiers.",
    "it": "Il vecchio giardino vicino al fiume è molto tranquillo la sera e i bambini ci vanno volentieri.",
    "pt": "O velho jardim à beira do rio é muito tranquilo à noite e as crianças gostam de ir para lá.",
    "hi": "नदी के किनारे का पुराना बगीचा शाम को बहुत शांत होता है और बच्चे वहाँ जाना पसंद करते हैं।",
    "ar": "الحديقة القديمة بجانب النهر هادئة جدا في المساء والأطفال يحبون الذهاب إليها.",
    "ko": "강가의 오래된 정원은 저녁에 매우 조용하고 아이들은 그곳에 가는 것을 좋아합니다.",
    "th": "สวนเก่าริมแม่น้ำเงียบมากในตอนเย็นและเด็กๆ ชอบไปที่นั่น",
    "ru": "Старый сад у реки очень тих вечером, и дети любят туда ходить.",
    "vi": "Khu vườn cũ bên bờ sông rất yên tĩnh vào buổi tối và trẻ em thích đến đó.",
    "fa": "باغ قدیمی کنار رودخانه در عصر بسیار آرام است و بچه ها دوست دارند به آنجا بروند.",
    "bn": "নদীর ধারের পুরানো বাগানটি সন্ধ্যায় খুব শান্ত থাকে এবং শিশুরা সেখানে যেতে ভালোবাসে।",
    "ur": "دریا کے کنارے پرانا باغ شام کو بہت پرسکون ہوتا ہے اور بچے وہاں جانا پسند کرتے ہیں۔",
    "ta": "ஆற்றங்கரையில் உள்ள பழைய தோட்டம் மாலையில் மிகவும் அமைதியாக இருக்கும், குழந்தைகள் அங்கு செல்ல விரும்புகிறார்கள்.",
    "te": "నది ఒడ్డున ఉన్న పాత తోట సాయంత్రం చాలా ప్రశాంతంగా ఉంటుంది మరియు పిల్లలు అక్కడికి వెళ్లడానికి ఇష్టపడతారు.",
    "mr": "नदीकाठची जुनी बाग संध्याकाळी खूप शांत असते आणि मुलांना तिथे जायला आवडते.",
    "gu": "નદી કિનારે આવેલો જૂનો બગીચો સાંજે ખૂબ જ શાંત હોય છે અને બાળકોને ત્યાં જવું ગમે છે.",
    "kn": "ನದಿಯ ದಡದಲ್ಲಿರುವ ಹಳೆಯ ತೋಟವು ಸಂಜೆ ತುಂಬಾ ಶಾಂತವಾಗಿರುತ್ತದೆ ಮತ್ತು ಮಕ್ಕಳು ಅಲ್ಲಿಗೆ ಹೋಗಲು ಇಷ್ಟಪಡುತ್ತಾರೆ.",
    "pa": "ਦਰਿਆ ਦੇ ਕੰਢੇ ਪੁਰਾਣਾ ਬਾਗ ਸ਼ਾਮ ਨੂੰ ਬਹੁਤ ਸ਼ਾਂਤ ਹੁੰਦਾ ਹੈ ਅਤੇ ਬੱਚੇ ਉੱਥੇ ਜਾਣਾ ਪਸੰਦ ਕਰਦੇ ਹਨ।",
    "ne": "नदी किनारको पुरानो बगैंचा साँझमा धेरै शान्त हुन्छ र केटाकेटीहरूलाई त्यहाँ जान मन पर्छ।",
    "sw": "Bustani ya zamani kando ya mto ni tulivu sana jioni na watoto wanapenda kwenda huko.",
    "fi": "Vanha puutarha joen rannalla on illalla hyvin hiljainen ja lapset menevät sinne mielellään.",
    "bg": "Старата градина край реката е много тиха вечер и децата обичат да ходят там.",
    "ja": "川のそばの古い庭は夕方とても静かで、子供たちはそこへ行くのが好きです。",
    "zh": "河边的老花园傍晚非常安静，孩子们喜欢去那里。",
    "pl": "Stary ogród nad rzeką jest wieczorem bardzo cichy i dzieci chętnie tam chodzą.",
    "uk": "Старий сад біля річки дуже тихий увечері, і діти люблять туди ходити.",
    "ml": "പുഴയോരത്തെ പഴയ പൂന്തോട്ടം വൈകുന്നേരം വളരെ ശാന്തമാണ്, കുട്ടികൾക്ക് അവിടെ പോകാൻ ഇഷ്ടമാണ്.",
    "he": "הגן הישן ליד הנהר שקט מאוד בערב והילדים אוהבים ללכת לשם.",
}  # fmt: skip


def by_count(few: str, many: str, relation: str) -> tuple[str, str]:
    """What follows "at least" or "less than", and what does not."""
    return (many, few) if relation == "at least" else (few, many)


def times(text: str, count: int, separator: str = " ") -> str:
    """A text so many times."""
    return separator.join([text] * count)


def followed_and_broken(kind: str, a: Mapping[str, Any], prompt: str) -> tuple[str, str]:
    """A text that follows an instruction with its arguments, and one that does not."""
    match kind.partition(":")[2]:
        case "existence":
            return f"{SENTENCE}: {', '.join(a['keywords'])}.", "Mmm."
        case "frequency":
            word, count = a["keyword"], a["frequency"]
            return by_count(times(word, count - 1) + ".", times(word, count) + ".", a["relation"])
        case "forbidden_words":
            return "Mmm.", f"Mmm {a['forbidden_words'][0]} mmm."
        case "letter_frequency":
            letter, count = a["letter"], a["let_frequency"]
            return by_count(times(letter, count - 1, "1") or "0", times(letter, count, "1"), a["let_relation"])
        case "number_sentences":
            count = a["num_sentences"]
            return by_count(times(f"{SENTENCE}.", count - 1) or " ", times(f"{SENTENCE}.", count), a["relation"])
        case "number_words":
            return by_count(times("word", a["num_words"] - 1), times("word", a["num_words"]), a["relation"])
        case "number_paragraphs":
            return times(SENTENCE, a["num_paragraphs"], "\n***\n"), times(SENTENCE, a["num_paragraphs"] + 1, "\n***\n")
        case "nth_paragraph_first_word":
            first = f"{a['first_word']} {SENTENCE}."
            paragraphs = [first if i + 1 == a["nth_paragraph"] else SENTENCE for i in range(a["num_paragraphs"])]
            return "\n\n".join(paragraphs), times(f"Nothing. {SENTENCE}", a["num_paragraphs"], "\n\n")
        case "number_placeholders":
            return times("[name]", a["num_placeholders"]), times("[name]", a["num_placeholders"] - 1) or SENTENCE
        case "postscript":
            return f"{SENTENCE}.\n\n{a['postscript_marker']} Bye", f"{SENTENCE}."
        case "number_bullet_lists":
            return times("* item", a["num_bullets"], "\n"), times("* item", a["num_bullets"] + 1, "\n")
        case "constrained_response":
            return "My answer is yes.", "Yes."
        case "number_highlighted_sections":
            return times("*high light*", a["num_highlights"]), times("*a b*", a["num_highlights"] - 1) or SENTENCE
        case "multiple_sections":
            parts = [f"{a['section_spliter']} {i + 1}\n{SENTENCE}." for i in range(a["num_sections"])]
            return "\n".join(parts), "\n".join(parts[:-1]) or SENTENCE
        case "json_format":
            return '```json\n{"garden": 1}\n```', "{garden: 1"
        case "title":
            return f"<<A garden>>\n{SENTENCE}.", f"<A garden>\n{SENTENCE}."
        case "two_responses":
            return f"{SENTENCE}.\n******\nAnother one.", f"{SENTENCE}.\n******\n{SENTENCE}."
        case "repeat_prompt":
            return f"{a['prompt_to_repeat']}\n{SENTENCE}.", f"{SENTENCE}."
        case "end_checker":
            return f"{SENTENCE}. {a['end_phrase']}", f"{a['end_phrase']} {SENTENCE} indeed"
        case "capital_word_frequency":
            few, many = times("WORD", a["capital_frequency"] - 1) or "none", times("WORD", a["capital_frequency"])
            return by_count(few, many, a["capital_relation"])
        case "english_capital":
            return f"{SENTENCE}.".upper(), f"{SENTENCE}."
        case "english_lowercase":
            return f"{SENTENCE}.".lower(), f"{SENTENCE}."
        case "no_comma":
            return f"{SENTENCE}.", f"{SENTENCE}, mostly."
        case "quotation":
            return f'"{SENTENCE}."', f'"{SENTENCE}.'
        case "response_language":
            return TEXTS[a["language"]], TEXTS["en" if a["language"] != "en" else "fr"]
    raise ValueError(f"{kind} has no example texts")


def instruction_cases(problems: list[Problem], source: str) -> Iterator[Case]:
    """Every instruction of every problem alone: followed, and broken."""
    for problem in problems:
        task = json.loads(problem.answer)
        for number, instruction in enumerate(task["instructions"]):
            texts = followed_and_broken(instruction["id"], instruction["arguments"], problem.prompt)
            alone = json.dumps({**task, "instructions": [instruction]})
            one = Problem(f"{problem.problem_id}-{number}", problem.prompt, alone, "instructions")
            for text, right in zip(texts, (True, False), strict=True):
                yield Case(source, one, f"The answer is: {text}", right)
