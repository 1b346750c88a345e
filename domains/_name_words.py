"""Word lists by which names are told from other words: titles, common names, surnames, and what is never a name.

Names here are among the most frequent of their languages, which anybody may list.
"""

__all__ = ["COMMON_GIVEN", "COMPOUND", "EPONYM_HEADS", "NEVER", "NEVER_HAN", "SURNAMES", "WORDS"]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


COMMON_GIVEN = _set(
    """james robert john michael david william richard joseph thomas charles christopher daniel matthew anthony mark
    donald steven andrew paul joshua kenneth kevin brian george timothy ronald jason edward jeffrey ryan jacob gary
    nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory alexander patrick frank raymond
    jack dennis jerry tyler aaron jose adam nathan henry zachary douglas peter kyle noah ethan jeremy walter christian
    keith roger terry austin sean gerald carl harold dylan arthur lawrence jordan jesse bryan billy bruce gabriel joe
    logan alan juan albert willie elijah wayne randy vincent mason roy ralph bobby russell bradley philip eugene mary
    patricia jennifer linda elizabeth barbara susan jessica karen sarah lisa nancy sandra betty ashley emily kimberly
    margaret donna michelle carol amanda melissa deborah stephanie rebecca sharon laura cynthia dorothy amy kathleen
    angela shirley emma brenda pamela nicole anna samantha katherine christine helen debra rachel carolyn janet maria
    catherine heather diane olivia julie joyce victoria ruth virginia lauren kelly christina joan evelyn judith andrea
    hannah megan cheryl jacqueline martha madison teresa gloria sara janice ann kathryn abigail sophia frances jean
    alice judy isabella julia grace amber denise danielle marilyn beverly charlotte natalie theresa diana brittany
    doris kayla alexis lori marie ahmed mohammed fatima priya wei li ming oliver harry lucas leo hugo carlos luis
    anita rosa elena"""
)
"""Given names; two capitalised words of which the first is one of them are a name."""
WORDS = _set(
    """will mark grace may june april august hope faith joy dawn rose lily daisy ivy violet olive amber ruby pearl
    crystal sandy rusty rich bill frank grant chase drew art ray gene guy dean earl duke king prince bishop pope young
    long short white black brown green gray grey reed hill lake rivers woods stone wood banks bush cook baker butler
    carpenter fisher hunter mason miller page price sharp small strong swift wise love power powers day days weeks
    winter summer summers spring snow frost rain moon star ball bell bird bond branch bridges brooks buck burns cannon
    case cash chance church clay cross fields fish foot fox french gold good hand hands head heath holiday house hunt
    hurt key knee lamb land lane law man marsh moody moss nail noble north south west east pace park peak piper post
    pride quick rash read rice rush sale salt savage self sick skin speed stark stern sweet temple tongue tooth waters
    way wells yard an do go he in so to no on be me or we my see low sang hung dial walker parker ward max christian
    major mild normal free best little sister judge pack patch carry drop line dose pain cope early best lay bright
    block camp stent port root lens tab iris sky sonny buddy melody harmony heaven destiny trinity patience prudence
    mercy constant curtis cord core shock trip van la de del von dr st ng"""
)
"""Names that are words too; alone they count only where they are written as a name."""
NEVER = _set(
    """the a an and or of to in on at is was has had with for from by as his her he she they it this that no not none
    unknown female male man woman patient name yes same above see adult child today denies reports presents states
    who will would should could can may does did history exam physical type grade stage practitioner manager
    assistant aide visit please follow primary care provider physician doctor nurse hospital clinic department
    alzheimer parkinson crohn hodgkin huntington gram glasgow apgar i we you my your our their said says also then
    there here when after before pending given blood heart normal pain emergency room unit service center centre
    mr mrs ms miss dr prof sir medical record number date birth address phone deceased alive well is are been
    insurance medicare medicaid vital signs allergies medications assessment plan chief complaint present illness
    social family surgical review systems general not n/a na self spouse wife husband mother father son daughter
    january february march april june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday what how why which okay ok so well yeah right good uh um hey hi hello"""
)
"""What never counts as a name by a cue alone."""
EPONYM_HEADS = (
    "disease syndrome sign palsy catheter criteria test score scale scan node nodes tumor tumour lymphoma contracture "
    "stain fracture classification procedure operation phenomenon reflex anemia thyroiditis chorea ulcer oesophagus "
    "esophagus pouch tube position maneuver manoeuvre law rule triad murmur gangrene sarcoma cell cells line drain "
    "reaction bodies body lesion protein index coma counts ring space"
)
"""Words after which a name before them is a term: "Wilson's disease"."""
SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石"
    "姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季俞章鲁葛伍韦申尤毕"
    "聂丛焦柳邢骆岳齐梅莫庄辛管祝左涂谷祁耿牟卜路詹关苗凌费纪靳盛童欧甄项曲翁霍游阮裴柏窦覃饶"
)
COMPOUND = (
    "欧阳",
    "司马",
    "上官",
    "诸葛",
    "司徒",
    "东方",
    "皇甫",
    "尉迟",
    "公孙",
    "慕容",
    "令狐",
    "夏侯",
    "南宫",
    "端木",
)
NEVER_HAN = _set(
    """高血 高热 高烧 高龄 高危 高度 高脂 高尿 高钾 高钠 高级 高年 高流 高压 高蛋 黄疸 黄染 黄体 黄色 白血 白细
    白癜 白内 白带 白蛋 白球 白色 白天 白假 麻醉 毛细 毛发 毛囊 牛皮 牛奶 金黄 金葡 金属 万古 方可 方案 方法
    方式 谷丙 谷草 谷氨 康复 温度 温水 余无 余未 余正 余可 余均 安静 安排 安眠 安定 安全 常规 常有 常见 常伴
    常于 时有 左侧 左上 左下 左心 左肺 左足 左手 左膝 左肾 左眼 左耳 左肩 左腿 管理 管腔 管型 易激 易怒 易饥
    石膏 雷诺 雷公 马蹄 胡须 苗条 陈旧 陈述 罗音 罗红 罗哌 段落 熊去 严重 严格 施行 施予 施术 关节 关注 关系
    关于 辛伐 季节 夏季 范围 潘生 葛根 龙胆 齐拉 柏油 项目 童年 颜面 梅毒 梅尼 林可 汤药 毕业 顾虑 孟鲁 平滑
    文化 武汉 江苏 江西 曾有 曾因 曾于 曾在 曾行 曾患 曾服 曾经 任何 任务 何时 何种 何处 程度 程序 许多 许可
    唐氏 苏醒 田间 丁卡 章节 史如 史无 史可 路径 路途 齐全 凌晨 纪录 费用 盛行 曲张 曲线 游离 游走 欧洲 童装
    焦虑 焦急 申请 尤其 尤以 柳氮 庄重 祝愿 左右 莫西 伍德 洪水 严密 史诗 文献 段时 明显 乔治 主任 副主 住院
    主治 上级 经治 值班 责任 门诊 急诊 外科 内科"""
)
"""First two characters of words that begin like a surname and are no name."""
